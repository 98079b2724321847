-- The financials procedure: one ledger of invoices, payments and discounts,
-- reversals included. A row is what one practitioner has in one of them: an invoice
-- on which two worked gives two rows, each with the whole total and the
-- practitioner's share of it in percent. What nobody has a share in is one row
-- without a practitioner.
--
-- A payment is what a receipt pays of an invoice; a deposit is in the ledger once
-- it is used. The shares of an invoice add up to 100, so that
--
--   SUM((invoice_total - invoice_discount) * invoice_involvement / 100)
--   - SUM(payment_total * payment_involvement / 100)
--
-- over the rows until a day is what was owed on that day. (invoice_total is 0 on
-- the rows of payments and discounts, invoice_discount on the others.)
--
-- transaction_id is the invoice, on every row. fin_key is the kind (I, P or D), the
-- key of the invoice, the allocation or the discount, and the practitioner; behind
-- that the key of the share, for the second and later shares that a practitioner
-- has in one invoice. transaction_type_1 is I, P or D; transaction_type_2 is N, R
-- for a reversal, or D for a payment from a deposit. PPA_Status is of the invoice's
-- latest payment plan.
--
-- The business date, on which date_modifier All keeps the range, is date_effective.
-- Created is about the invoice, the allocation or the discount. Updated, and
-- updated_date, are about every row whose values are shown: those, the share, the
-- invoice, the receipt, the payment plan, the patient, the practitioner, the payment
-- type.
--
-- Keys are chosen first: by the range itself, or for Updated as all that belongs to
-- an invoice of which something changed. Nothing is joined but by one row: the
-- shares, which make the rows, and the payment plans, of which an invoice may have
-- several, are grouped.
--
-- NULLIF(x, NULL) is x. It tells the embedded server that a LEFT JOIN may leave it
-- NULL. That server knows parameters in lists with commas and in WITH, not below a
-- JOIN, and takes the result of GREATEST for one with fractions: so the column that
-- is the greatest is chosen.
--
-- A date of zeros is before every other one, but is NULL once it has been through an
-- expression under a mode that forbids it.
--
-- p_from_date and p_to_date are whole days, both inclusive: a timestamp in the last
-- second of p_to_date is in. NULL leaves that side open: with both NULL every row
-- comes, of whatever date. p_date_modifier is All, Created (ts_4_insert) or Updated
-- (ts_4_update), in any case; anything else, NULL too, is an error of SQLSTATE
-- 45000. Rows come ordered by invoice, then discounts, the invoice itself, and
-- payments.
--
-- Every bound is a constant when the statement is planned, and v_by too, so that
-- every server can use the index of each date column and reads nothing for the
-- modifiers that are not asked for.
--
-- v_from and v_until are NULL on the side that is open. No bound would do:
-- 0000-00-00 is before every date that can be written under any sql_mode, and
-- 9999-12-31 has no next day. Nor has 0000-00-00, which as p_to_date must not open
-- that side. The file holds exactly one statement.
CREATE PROCEDURE financials(IN p_from_date DATE, IN p_to_date DATE, IN p_date_modifier VARCHAR(10))
READS SQL DATA
BEGIN
  DECLARE v_from DATE;
  DECLARE v_until DATE;
  DECLARE v_by VARCHAR(10);
  SELECT
    p_from_date,
    IF(p_to_date < DATE '9999-12-31', COALESCE(p_to_date + INTERVAL 1 DAY, p_to_date), NULL),
    LOWER(p_date_modifier)
  INTO v_from, v_until, v_by;
  IF v_by IS NULL OR v_by NOT IN ('all', 'created', 'updated') THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'p_date_modifier must be All, Created or Updated';
  END IF;

  WITH touched AS (
    SELECT i.invoice_id
    FROM invoice i
    WHERE v_by = 'updated' AND (i.ts_4_update >= v_from OR v_from IS NULL)
      AND (i.ts_4_update < v_until OR v_until IS NULL)
    UNION
    SELECT s.invoice_id
    FROM invoice_practitioner s
    WHERE v_by = 'updated' AND (s.ts_4_update >= v_from OR v_from IS NULL)
      AND (s.ts_4_update < v_until OR v_until IS NULL)
    UNION
    SELECT g.invoice_id
    FROM account_payment_plan g
    WHERE v_by = 'updated' AND (g.ts_4_update >= v_from OR v_from IS NULL)
      AND (g.ts_4_update < v_until OR v_until IS NULL)
    UNION
    SELECT a.invoice_id
    FROM payment_allocation a
    WHERE v_by = 'updated' AND (a.ts_4_update >= v_from OR v_from IS NULL)
      AND (a.ts_4_update < v_until OR v_until IS NULL)
    UNION
    SELECT c.invoice_id
    FROM discount c
    WHERE v_by = 'updated' AND (c.ts_4_update >= v_from OR v_from IS NULL)
      AND (c.ts_4_update < v_until OR v_until IS NULL)
    UNION
    SELECT a.invoice_id
    FROM receipt r, payment_allocation a
    WHERE a.receipt_id = r.receipt_id AND v_by = 'updated' AND (r.ts_4_update >= v_from OR v_from IS NULL)
      AND (r.ts_4_update < v_until OR v_until IS NULL)
    UNION
    SELECT a.invoice_id
    FROM payment_type y, receipt r, payment_allocation a
    WHERE r.payment_type_id = y.payment_type_id AND a.receipt_id = r.receipt_id
      AND v_by = 'updated' AND (y.ts_4_update >= v_from OR v_from IS NULL)
      AND (y.ts_4_update < v_until OR v_until IS NULL)
    UNION
    SELECT s.invoice_id
    FROM practitioner d, invoice_practitioner s
    WHERE s.practitioner_id = d.practitioner_id AND v_by = 'updated' AND (d.ts_4_update >= v_from OR v_from IS NULL)
      AND (d.ts_4_update < v_until OR v_until IS NULL)
    UNION
    SELECT i.invoice_id
    FROM patient p, invoice i
    WHERE i.patient_id = p.patient_id AND v_by = 'updated' AND (p.ts_4_update >= v_from OR v_from IS NULL)
      AND (p.ts_4_update < v_until OR v_until IS NULL)
    UNION
    SELECT a.invoice_id
    FROM patient p, payment_allocation a
    WHERE a.patient_id = p.patient_id AND v_by = 'updated' AND (p.ts_4_update >= v_from OR v_from IS NULL)
      AND (p.ts_4_update < v_until OR v_until IS NULL)
    UNION
    SELECT c.invoice_id
    FROM patient p, discount c
    WHERE c.patient_id = p.patient_id AND v_by = 'updated' AND (p.ts_4_update >= v_from OR v_from IS NULL)
      AND (p.ts_4_update < v_until OR v_until IS NULL)
  ), invoices AS (
    SELECT i.invoice_id
    FROM invoice i
    WHERE v_by = 'all' AND (i.date_effective >= v_from OR v_from IS NULL)
      AND (i.date_effective < v_until OR v_until IS NULL)
    UNION ALL
    SELECT i.invoice_id
    FROM invoice i
    WHERE v_by = 'created' AND (i.ts_4_insert >= v_from OR v_from IS NULL)
      AND (i.ts_4_insert < v_until OR v_until IS NULL)
    UNION ALL
    SELECT i.invoice_id
    FROM touched t, invoice i
    WHERE i.invoice_id = t.invoice_id
  ), payments AS (
    SELECT a.allocation_id, a.invoice_id
    FROM payment_allocation a
    WHERE v_by = 'all' AND (a.date_effective >= v_from OR v_from IS NULL)
      AND (a.date_effective < v_until OR v_until IS NULL)
    UNION ALL
    SELECT a.allocation_id, a.invoice_id
    FROM payment_allocation a
    WHERE v_by = 'created' AND (a.ts_4_insert >= v_from OR v_from IS NULL)
      AND (a.ts_4_insert < v_until OR v_until IS NULL)
    UNION ALL
    SELECT a.allocation_id, a.invoice_id
    FROM touched t, payment_allocation a
    WHERE a.invoice_id = t.invoice_id
  ), discounts AS (
    SELECT c.discount_id, c.invoice_id
    FROM discount c
    WHERE v_by = 'all' AND (c.date_effective >= v_from OR v_from IS NULL)
      AND (c.date_effective < v_until OR v_until IS NULL)
    UNION ALL
    SELECT c.discount_id, c.invoice_id
    FROM discount c
    WHERE v_by = 'created' AND (c.ts_4_insert >= v_from OR v_from IS NULL)
      AND (c.ts_4_insert < v_until OR v_until IS NULL)
    UNION ALL
    SELECT c.discount_id, c.invoice_id
    FROM touched t, discount c
    WHERE c.invoice_id = t.invoice_id
  )
  SELECT *
  FROM (
    SELECT
      CONCAT(
        'I', i.invoice_id, COALESCE(CONCAT('-', s.practitioner_id), ''),
        IF(s.invoice_practitioner_id > k.first_share, CONCAT('-', s.invoice_practitioner_id), '')
      ) AS fin_key, i.date_effective,
      COALESCE(p.surname, '') AS surname, COALESCE(p.title, '') AS title,
      COALESCE(p.first_name, '') AS first_name, i.invoice_id AS transaction_id,
      i.amount AS invoice_total, CAST(0 AS DECIMAL(12,4)) AS invoice_discount,
      NULLIF(s.involvement, NULL) AS invoice_involvement, CAST(NULL AS DECIMAL(12,4)) AS payment_total,
      CAST(NULL AS DECIMAL(7,4)) AS payment_involvement, i.lab_fees,
      CAST(IF(i.lab_fees IS NULL, NULL, s.involvement) AS DECIMAL(7,4)) AS lab_fees_involvement,
      'I' AS transaction_type_1, NULLIF(s.practitioner_id, NULL) AS practitioner_id,
      COALESCE(d.practitioner_code, '') AS practitioner_code,
      NULLIF(i.practitioner_id, NULL) AS main_practitioner, CAST(NULL AS SIGNED) AS allocation_id,
      i.gst_amount, CAST(NULL AS DECIMAL(12,4)) AS gst_discount,
      NULLIF(s.commission_percent, NULL) AS commission_percent,
      i.location_id AS location_id_invoice, i.location_id AS location_id_payment,
      IF(i.reversal = 1, 'R', 'N') AS transaction_type_2, s.commission_expenses,
      NULLIF(g.plan_status, NULL) AS PPA_Status, CAST(NULL AS SIGNED) AS payment_id, i.date_processing,
      CASE GREATEST(
          i.ts_4_update, COALESCE(s.ts_4_update, i.ts_4_update),
          COALESCE(g.ts_4_update, i.ts_4_update), COALESCE(p.ts_4_update, i.ts_4_update),
          COALESCE(d.ts_4_update, i.ts_4_update)
        )
        WHEN s.ts_4_update THEN s.ts_4_update
        WHEN g.ts_4_update THEN g.ts_4_update
        WHEN p.ts_4_update THEN p.ts_4_update
        WHEN d.ts_4_update THEN d.ts_4_update
        ELSE i.ts_4_update
      END AS updated_date,
      NULL AS payment_type, i.health_fund_id, CAST(NULL AS DECIMAL(12,4)) AS payment_amount,
      '' AS cheque_payer, '' AS cheque_bank, '' AS cheque_branch
    FROM (
      SELECT
        k.invoice_id, s.practitioner_id, MIN(s.invoice_practitioner_id) AS first_share,
        MAX(g.account_payment_plan_id) AS plan_id
      FROM invoices k
      LEFT JOIN invoice_practitioner s ON s.invoice_id = k.invoice_id
      LEFT JOIN account_payment_plan g ON g.invoice_id = k.invoice_id
      GROUP BY k.invoice_id, s.practitioner_id
    ) k
    JOIN invoice i ON i.invoice_id = k.invoice_id
    LEFT JOIN invoice_practitioner s
      ON s.invoice_id = k.invoice_id AND s.practitioner_id = k.practitioner_id
    LEFT JOIN practitioner d ON d.practitioner_id = k.practitioner_id
    LEFT JOIN patient p ON p.patient_id = i.patient_id
    LEFT JOIN account_payment_plan g ON g.account_payment_plan_id = k.plan_id
    UNION ALL
    SELECT
      CONCAT(
        'P', a.allocation_id, COALESCE(CONCAT('-', s.practitioner_id), ''),
        IF(s.invoice_practitioner_id > k.first_share, CONCAT('-', s.invoice_practitioner_id), '')
      ), a.date_effective, COALESCE(p.surname, ''),
      COALESCE(p.title, ''), COALESCE(p.first_name, ''), a.invoice_id, CAST(0 AS DECIMAL(12,4)),
      CAST(0 AS DECIMAL(12,4)), NULLIF(s.involvement, NULL), a.amount, NULLIF(s.involvement, NULL),
      CAST(NULL AS DECIMAL(12,4)), CAST(NULL AS DECIMAL(7,4)), 'P',
      NULLIF(s.practitioner_id, NULL), COALESCE(d.practitioner_code, ''), NULLIF(i.practitioner_id, NULL),
      a.allocation_id, CAST(0 AS DECIMAL(12,4)), CAST(NULL AS DECIMAL(12,4)),
      NULLIF(s.commission_percent, NULL), a.invoice_location_id, a.receipt_location_id,
      IF(a.reversal = 1, 'R', IF(r.deposit = 1, 'D', 'N')), CAST(NULL AS DECIMAL(12,4)),
      NULLIF(g.plan_status, NULL), a.receipt_id, a.date_processing,
      CASE GREATEST(
          a.ts_4_update, COALESCE(s.ts_4_update, a.ts_4_update),
          COALESCE(g.ts_4_update, a.ts_4_update), COALESCE(p.ts_4_update, a.ts_4_update),
          COALESCE(d.ts_4_update, a.ts_4_update), COALESCE(i.ts_4_update, a.ts_4_update),
          COALESCE(r.ts_4_update, a.ts_4_update), COALESCE(y.ts_4_update, a.ts_4_update)
        )
        WHEN s.ts_4_update THEN s.ts_4_update
        WHEN g.ts_4_update THEN g.ts_4_update
        WHEN p.ts_4_update THEN p.ts_4_update
        WHEN d.ts_4_update THEN d.ts_4_update
        WHEN i.ts_4_update THEN i.ts_4_update
        WHEN r.ts_4_update THEN r.ts_4_update
        WHEN y.ts_4_update THEN y.ts_4_update
        ELSE a.ts_4_update
      END,
      y.payment_type, r.health_fund_id, r.amount, COALESCE(r.cheque_payer, ''),
      COALESCE(r.cheque_bank, ''), COALESCE(r.cheque_branch, '')
    FROM (
      SELECT
        k.allocation_id, k.invoice_id, s.practitioner_id, MIN(s.invoice_practitioner_id) AS first_share,
        MAX(g.account_payment_plan_id) AS plan_id
      FROM payments k
      LEFT JOIN invoice_practitioner s ON s.invoice_id = k.invoice_id
      LEFT JOIN account_payment_plan g ON g.invoice_id = k.invoice_id
      GROUP BY k.allocation_id, k.invoice_id, s.practitioner_id
    ) k
    JOIN payment_allocation a ON a.allocation_id = k.allocation_id
    LEFT JOIN invoice_practitioner s
      ON s.invoice_id = k.invoice_id AND s.practitioner_id = k.practitioner_id
    LEFT JOIN invoice i ON i.invoice_id = a.invoice_id
    LEFT JOIN practitioner d ON d.practitioner_id = k.practitioner_id
    LEFT JOIN patient p ON p.patient_id = a.patient_id
    LEFT JOIN account_payment_plan g ON g.account_payment_plan_id = k.plan_id
    LEFT JOIN receipt r ON r.receipt_id = a.receipt_id
    LEFT JOIN payment_type y ON y.payment_type_id = r.payment_type_id
    UNION ALL
    SELECT
      CONCAT(
        'D', c.discount_id, COALESCE(CONCAT('-', s.practitioner_id), ''),
        IF(s.invoice_practitioner_id > k.first_share, CONCAT('-', s.invoice_practitioner_id), '')
      ), c.date_effective, COALESCE(p.surname, ''),
      COALESCE(p.title, ''), COALESCE(p.first_name, ''), c.invoice_id, CAST(0 AS DECIMAL(12,4)),
      c.amount, NULLIF(s.involvement, NULL), CAST(NULL AS DECIMAL(12,4)), CAST(NULL AS DECIMAL(7,4)),
      CAST(NULL AS DECIMAL(12,4)), CAST(NULL AS DECIMAL(7,4)), 'D',
      NULLIF(s.practitioner_id, NULL), COALESCE(d.practitioner_code, ''), c.practitioner_id,
      CAST(NULL AS SIGNED), CAST(0 AS DECIMAL(12,4)), c.gst_amount,
      NULLIF(s.commission_percent, NULL), c.location_id, c.location_id,
      IF(c.reversal = 1, 'R', 'N'), CAST(NULL AS DECIMAL(12,4)), NULLIF(g.plan_status, NULL),
      CAST(NULL AS SIGNED), c.date_processing,
      CASE GREATEST(
          c.ts_4_update, COALESCE(s.ts_4_update, c.ts_4_update),
          COALESCE(g.ts_4_update, c.ts_4_update), COALESCE(p.ts_4_update, c.ts_4_update),
          COALESCE(d.ts_4_update, c.ts_4_update), COALESCE(i.ts_4_update, c.ts_4_update)
        )
        WHEN s.ts_4_update THEN s.ts_4_update
        WHEN g.ts_4_update THEN g.ts_4_update
        WHEN p.ts_4_update THEN p.ts_4_update
        WHEN d.ts_4_update THEN d.ts_4_update
        WHEN i.ts_4_update THEN i.ts_4_update
        ELSE c.ts_4_update
      END,
      NULL, i.health_fund_id, CAST(NULL AS DECIMAL(12,4)), '', '', ''
    FROM (
      SELECT
        k.discount_id, k.invoice_id, s.practitioner_id, MIN(s.invoice_practitioner_id) AS first_share,
        MAX(g.account_payment_plan_id) AS plan_id
      FROM discounts k
      LEFT JOIN invoice_practitioner s ON s.invoice_id = k.invoice_id
      LEFT JOIN account_payment_plan g ON g.invoice_id = k.invoice_id
      GROUP BY k.discount_id, k.invoice_id, s.practitioner_id
    ) k
    JOIN discount c ON c.discount_id = k.discount_id
    LEFT JOIN invoice_practitioner s
      ON s.invoice_id = k.invoice_id AND s.practitioner_id = k.practitioner_id
    LEFT JOIN invoice i ON i.invoice_id = c.invoice_id
    LEFT JOIN practitioner d ON d.practitioner_id = k.practitioner_id
    LEFT JOIN patient p ON p.patient_id = c.patient_id
    LEFT JOIN account_payment_plan g ON g.account_payment_plan_id = k.plan_id
  ) l
  WHERE v_by <> 'updated'
    OR COALESCE(updated_date >= v_from, v_from IS NULL) AND COALESCE(updated_date < v_until, TRUE)
  ORDER BY transaction_id, transaction_type_1, allocation_id, fin_key;
END
