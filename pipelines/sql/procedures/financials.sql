-- The financials procedure: one ledger of invoices, payments and discounts,
-- reversals included. A row is what one practitioner has in one of them: an invoice
-- on which two worked gives two rows, each with the whole total and the
-- practitioner's share of it in percent.
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
-- key of the invoice, the allocation or the discount, and the practitioner.
-- transaction_type_1 is I, P or D; transaction_type_2 is N, R for a reversal, or D
-- for a payment from a deposit.
--
-- The business date, on which date_modifier All keeps the range, is date_effective.
-- Created and Updated are about the invoice, the allocation or the discount.
--
-- NULLIF(x, NULL) is x. It tells the embedded server that a LEFT JOIN may leave it
-- NULL.
--
-- p_from_date and p_to_date are whole days, both inclusive: a timestamp in the last
-- second of p_to_date is in. NULL leaves that side open: with both NULL every row
-- comes, of whatever date. p_date_modifier is All, Created (ts_4_insert) or Updated
-- (ts_4_update), in any case; anything else, NULL too, is an error of SQLSTATE
-- 45000. Rows come ordered by invoice, then discounts, the invoice itself, and
-- payments.
--
-- One SELECT per modifier, each with bounds that are constants when it is planned,
-- so that every server can use the index of its date column. Their column lists are
-- the same.
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
  SELECT
    p_from_date,
    IF(p_to_date < DATE '9999-12-31', COALESCE(p_to_date + INTERVAL 1 DAY, p_to_date), NULL)
  INTO v_from, v_until;

  IF LOWER(p_date_modifier) = 'all' THEN
    SELECT
      CONCAT('I', i.invoice_id, '-', s.practitioner_id) AS fin_key, i.date_effective,
      COALESCE(p.surname, '') AS surname, COALESCE(p.title, '') AS title,
      COALESCE(p.first_name, '') AS first_name, i.invoice_id AS transaction_id,
      i.amount AS invoice_total, CAST(0 AS DECIMAL(12,4)) AS invoice_discount,
      s.involvement AS invoice_involvement, CAST(NULL AS DECIMAL(12,4)) AS payment_total,
      CAST(NULL AS DECIMAL(7,4)) AS payment_involvement, i.lab_fees,
      CAST(IF(i.lab_fees IS NULL, NULL, s.involvement) AS DECIMAL(7,4)) AS lab_fees_involvement,
      'I' AS transaction_type_1, s.practitioner_id,
      COALESCE(d.practitioner_code, '') AS practitioner_code, i.practitioner_id AS main_practitioner,
      CAST(NULL AS SIGNED) AS allocation_id, i.gst_amount, CAST(NULL AS DECIMAL(12,4)) AS gst_discount,
      s.commission_percent, i.location_id AS location_id_invoice, i.location_id AS location_id_payment,
      IF(i.reversal = 1, 'R', 'N') AS transaction_type_2, s.commission_expenses,
      NULLIF(g.plan_status, NULL) AS PPA_Status, CAST(NULL AS SIGNED) AS payment_id, i.date_processing,
      i.ts_4_update AS updated_date, NULL AS payment_type, i.health_fund_id,
      CAST(NULL AS DECIMAL(12,4)) AS payment_amount, '' AS cheque_payer, '' AS cheque_bank,
      '' AS cheque_branch
    FROM invoice i
    JOIN invoice_practitioner s ON s.invoice_id = i.invoice_id
    LEFT JOIN practitioner d ON d.practitioner_id = s.practitioner_id
    LEFT JOIN patient p ON p.patient_id = i.patient_id
    LEFT JOIN account_payment_plan g ON g.invoice_id = i.invoice_id
    WHERE (i.date_effective >= v_from OR v_from IS NULL)
      AND (i.date_effective < v_until OR v_until IS NULL)
    UNION ALL
    SELECT
      CONCAT('P', a.allocation_id, '-', s.practitioner_id), a.date_effective, COALESCE(p.surname, ''),
      COALESCE(p.title, ''), COALESCE(p.first_name, ''), a.invoice_id, CAST(0 AS DECIMAL(12,4)),
      CAST(0 AS DECIMAL(12,4)), s.involvement, a.amount, s.involvement, CAST(NULL AS DECIMAL(12,4)),
      CAST(NULL AS DECIMAL(7,4)), 'P', s.practitioner_id, COALESCE(d.practitioner_code, ''),
      i.practitioner_id, a.allocation_id, CAST(0 AS DECIMAL(12,4)), CAST(NULL AS DECIMAL(12,4)),
      s.commission_percent, a.invoice_location_id, a.receipt_location_id,
      IF(a.reversal = 1, 'R', IF(r.deposit = 1, 'D', 'N')), CAST(NULL AS DECIMAL(12,4)),
      NULLIF(g.plan_status, NULL), a.receipt_id, a.date_processing, a.ts_4_update, y.payment_type,
      r.health_fund_id, r.amount, COALESCE(r.cheque_payer, ''), COALESCE(r.cheque_bank, ''),
      COALESCE(r.cheque_branch, '')
    FROM payment_allocation a
    JOIN invoice i ON i.invoice_id = a.invoice_id
    JOIN invoice_practitioner s ON s.invoice_id = a.invoice_id
    LEFT JOIN practitioner d ON d.practitioner_id = s.practitioner_id
    LEFT JOIN patient p ON p.patient_id = a.patient_id
    LEFT JOIN account_payment_plan g ON g.invoice_id = a.invoice_id
    LEFT JOIN receipt r ON r.receipt_id = a.receipt_id
    LEFT JOIN payment_type y ON y.payment_type_id = r.payment_type_id
    WHERE (a.date_effective >= v_from OR v_from IS NULL)
      AND (a.date_effective < v_until OR v_until IS NULL)
    UNION ALL
    SELECT
      CONCAT('D', c.discount_id, '-', s.practitioner_id), c.date_effective, COALESCE(p.surname, ''),
      COALESCE(p.title, ''), COALESCE(p.first_name, ''), c.invoice_id, CAST(0 AS DECIMAL(12,4)),
      c.amount, s.involvement, CAST(NULL AS DECIMAL(12,4)), CAST(NULL AS DECIMAL(7,4)),
      CAST(NULL AS DECIMAL(12,4)), CAST(NULL AS DECIMAL(7,4)), 'D', s.practitioner_id,
      COALESCE(d.practitioner_code, ''), c.practitioner_id, CAST(NULL AS SIGNED),
      CAST(0 AS DECIMAL(12,4)), c.gst_amount, s.commission_percent, c.location_id, c.location_id,
      IF(c.reversal = 1, 'R', 'N'), CAST(NULL AS DECIMAL(12,4)), NULLIF(g.plan_status, NULL),
      CAST(NULL AS SIGNED), c.date_processing, c.ts_4_update, NULL, CAST(NULL AS SIGNED),
      CAST(NULL AS DECIMAL(12,4)), '', '', ''
    FROM discount c
    JOIN invoice_practitioner s ON s.invoice_id = c.invoice_id
    LEFT JOIN practitioner d ON d.practitioner_id = s.practitioner_id
    LEFT JOIN patient p ON p.patient_id = c.patient_id
    LEFT JOIN account_payment_plan g ON g.invoice_id = c.invoice_id
    WHERE (c.date_effective >= v_from OR v_from IS NULL)
      AND (c.date_effective < v_until OR v_until IS NULL)
    ORDER BY transaction_id, transaction_type_1, allocation_id, fin_key;
  ELSEIF LOWER(p_date_modifier) = 'created' THEN
    SELECT
      CONCAT('I', i.invoice_id, '-', s.practitioner_id) AS fin_key, i.date_effective,
      COALESCE(p.surname, '') AS surname, COALESCE(p.title, '') AS title,
      COALESCE(p.first_name, '') AS first_name, i.invoice_id AS transaction_id,
      i.amount AS invoice_total, CAST(0 AS DECIMAL(12,4)) AS invoice_discount,
      s.involvement AS invoice_involvement, CAST(NULL AS DECIMAL(12,4)) AS payment_total,
      CAST(NULL AS DECIMAL(7,4)) AS payment_involvement, i.lab_fees,
      CAST(IF(i.lab_fees IS NULL, NULL, s.involvement) AS DECIMAL(7,4)) AS lab_fees_involvement,
      'I' AS transaction_type_1, s.practitioner_id,
      COALESCE(d.practitioner_code, '') AS practitioner_code, i.practitioner_id AS main_practitioner,
      CAST(NULL AS SIGNED) AS allocation_id, i.gst_amount, CAST(NULL AS DECIMAL(12,4)) AS gst_discount,
      s.commission_percent, i.location_id AS location_id_invoice, i.location_id AS location_id_payment,
      IF(i.reversal = 1, 'R', 'N') AS transaction_type_2, s.commission_expenses,
      NULLIF(g.plan_status, NULL) AS PPA_Status, CAST(NULL AS SIGNED) AS payment_id, i.date_processing,
      i.ts_4_update AS updated_date, NULL AS payment_type, i.health_fund_id,
      CAST(NULL AS DECIMAL(12,4)) AS payment_amount, '' AS cheque_payer, '' AS cheque_bank,
      '' AS cheque_branch
    FROM invoice i
    JOIN invoice_practitioner s ON s.invoice_id = i.invoice_id
    LEFT JOIN practitioner d ON d.practitioner_id = s.practitioner_id
    LEFT JOIN patient p ON p.patient_id = i.patient_id
    LEFT JOIN account_payment_plan g ON g.invoice_id = i.invoice_id
    WHERE (i.ts_4_insert >= v_from OR v_from IS NULL)
      AND (i.ts_4_insert < v_until OR v_until IS NULL)
    UNION ALL
    SELECT
      CONCAT('P', a.allocation_id, '-', s.practitioner_id), a.date_effective, COALESCE(p.surname, ''),
      COALESCE(p.title, ''), COALESCE(p.first_name, ''), a.invoice_id, CAST(0 AS DECIMAL(12,4)),
      CAST(0 AS DECIMAL(12,4)), s.involvement, a.amount, s.involvement, CAST(NULL AS DECIMAL(12,4)),
      CAST(NULL AS DECIMAL(7,4)), 'P', s.practitioner_id, COALESCE(d.practitioner_code, ''),
      i.practitioner_id, a.allocation_id, CAST(0 AS DECIMAL(12,4)), CAST(NULL AS DECIMAL(12,4)),
      s.commission_percent, a.invoice_location_id, a.receipt_location_id,
      IF(a.reversal = 1, 'R', IF(r.deposit = 1, 'D', 'N')), CAST(NULL AS DECIMAL(12,4)),
      NULLIF(g.plan_status, NULL), a.receipt_id, a.date_processing, a.ts_4_update, y.payment_type,
      r.health_fund_id, r.amount, COALESCE(r.cheque_payer, ''), COALESCE(r.cheque_bank, ''),
      COALESCE(r.cheque_branch, '')
    FROM payment_allocation a
    JOIN invoice i ON i.invoice_id = a.invoice_id
    JOIN invoice_practitioner s ON s.invoice_id = a.invoice_id
    LEFT JOIN practitioner d ON d.practitioner_id = s.practitioner_id
    LEFT JOIN patient p ON p.patient_id = a.patient_id
    LEFT JOIN account_payment_plan g ON g.invoice_id = a.invoice_id
    LEFT JOIN receipt r ON r.receipt_id = a.receipt_id
    LEFT JOIN payment_type y ON y.payment_type_id = r.payment_type_id
    WHERE (a.ts_4_insert >= v_from OR v_from IS NULL)
      AND (a.ts_4_insert < v_until OR v_until IS NULL)
    UNION ALL
    SELECT
      CONCAT('D', c.discount_id, '-', s.practitioner_id), c.date_effective, COALESCE(p.surname, ''),
      COALESCE(p.title, ''), COALESCE(p.first_name, ''), c.invoice_id, CAST(0 AS DECIMAL(12,4)),
      c.amount, s.involvement, CAST(NULL AS DECIMAL(12,4)), CAST(NULL AS DECIMAL(7,4)),
      CAST(NULL AS DECIMAL(12,4)), CAST(NULL AS DECIMAL(7,4)), 'D', s.practitioner_id,
      COALESCE(d.practitioner_code, ''), c.practitioner_id, CAST(NULL AS SIGNED),
      CAST(0 AS DECIMAL(12,4)), c.gst_amount, s.commission_percent, c.location_id, c.location_id,
      IF(c.reversal = 1, 'R', 'N'), CAST(NULL AS DECIMAL(12,4)), NULLIF(g.plan_status, NULL),
      CAST(NULL AS SIGNED), c.date_processing, c.ts_4_update, NULL, CAST(NULL AS SIGNED),
      CAST(NULL AS DECIMAL(12,4)), '', '', ''
    FROM discount c
    JOIN invoice_practitioner s ON s.invoice_id = c.invoice_id
    LEFT JOIN practitioner d ON d.practitioner_id = s.practitioner_id
    LEFT JOIN patient p ON p.patient_id = c.patient_id
    LEFT JOIN account_payment_plan g ON g.invoice_id = c.invoice_id
    WHERE (c.ts_4_insert >= v_from OR v_from IS NULL)
      AND (c.ts_4_insert < v_until OR v_until IS NULL)
    ORDER BY transaction_id, transaction_type_1, allocation_id, fin_key;
  ELSEIF LOWER(p_date_modifier) = 'updated' THEN
    SELECT
      CONCAT('I', i.invoice_id, '-', s.practitioner_id) AS fin_key, i.date_effective,
      COALESCE(p.surname, '') AS surname, COALESCE(p.title, '') AS title,
      COALESCE(p.first_name, '') AS first_name, i.invoice_id AS transaction_id,
      i.amount AS invoice_total, CAST(0 AS DECIMAL(12,4)) AS invoice_discount,
      s.involvement AS invoice_involvement, CAST(NULL AS DECIMAL(12,4)) AS payment_total,
      CAST(NULL AS DECIMAL(7,4)) AS payment_involvement, i.lab_fees,
      CAST(IF(i.lab_fees IS NULL, NULL, s.involvement) AS DECIMAL(7,4)) AS lab_fees_involvement,
      'I' AS transaction_type_1, s.practitioner_id,
      COALESCE(d.practitioner_code, '') AS practitioner_code, i.practitioner_id AS main_practitioner,
      CAST(NULL AS SIGNED) AS allocation_id, i.gst_amount, CAST(NULL AS DECIMAL(12,4)) AS gst_discount,
      s.commission_percent, i.location_id AS location_id_invoice, i.location_id AS location_id_payment,
      IF(i.reversal = 1, 'R', 'N') AS transaction_type_2, s.commission_expenses,
      NULLIF(g.plan_status, NULL) AS PPA_Status, CAST(NULL AS SIGNED) AS payment_id, i.date_processing,
      i.ts_4_update AS updated_date, NULL AS payment_type, i.health_fund_id,
      CAST(NULL AS DECIMAL(12,4)) AS payment_amount, '' AS cheque_payer, '' AS cheque_bank,
      '' AS cheque_branch
    FROM invoice i
    JOIN invoice_practitioner s ON s.invoice_id = i.invoice_id
    LEFT JOIN practitioner d ON d.practitioner_id = s.practitioner_id
    LEFT JOIN patient p ON p.patient_id = i.patient_id
    LEFT JOIN account_payment_plan g ON g.invoice_id = i.invoice_id
    WHERE (i.ts_4_update >= v_from OR v_from IS NULL)
      AND (i.ts_4_update < v_until OR v_until IS NULL)
    UNION ALL
    SELECT
      CONCAT('P', a.allocation_id, '-', s.practitioner_id), a.date_effective, COALESCE(p.surname, ''),
      COALESCE(p.title, ''), COALESCE(p.first_name, ''), a.invoice_id, CAST(0 AS DECIMAL(12,4)),
      CAST(0 AS DECIMAL(12,4)), s.involvement, a.amount, s.involvement, CAST(NULL AS DECIMAL(12,4)),
      CAST(NULL AS DECIMAL(7,4)), 'P', s.practitioner_id, COALESCE(d.practitioner_code, ''),
      i.practitioner_id, a.allocation_id, CAST(0 AS DECIMAL(12,4)), CAST(NULL AS DECIMAL(12,4)),
      s.commission_percent, a.invoice_location_id, a.receipt_location_id,
      IF(a.reversal = 1, 'R', IF(r.deposit = 1, 'D', 'N')), CAST(NULL AS DECIMAL(12,4)),
      NULLIF(g.plan_status, NULL), a.receipt_id, a.date_processing, a.ts_4_update, y.payment_type,
      r.health_fund_id, r.amount, COALESCE(r.cheque_payer, ''), COALESCE(r.cheque_bank, ''),
      COALESCE(r.cheque_branch, '')
    FROM payment_allocation a
    JOIN invoice i ON i.invoice_id = a.invoice_id
    JOIN invoice_practitioner s ON s.invoice_id = a.invoice_id
    LEFT JOIN practitioner d ON d.practitioner_id = s.practitioner_id
    LEFT JOIN patient p ON p.patient_id = a.patient_id
    LEFT JOIN account_payment_plan g ON g.invoice_id = a.invoice_id
    LEFT JOIN receipt r ON r.receipt_id = a.receipt_id
    LEFT JOIN payment_type y ON y.payment_type_id = r.payment_type_id
    WHERE (a.ts_4_update >= v_from OR v_from IS NULL)
      AND (a.ts_4_update < v_until OR v_until IS NULL)
    UNION ALL
    SELECT
      CONCAT('D', c.discount_id, '-', s.practitioner_id), c.date_effective, COALESCE(p.surname, ''),
      COALESCE(p.title, ''), COALESCE(p.first_name, ''), c.invoice_id, CAST(0 AS DECIMAL(12,4)),
      c.amount, s.involvement, CAST(NULL AS DECIMAL(12,4)), CAST(NULL AS DECIMAL(7,4)),
      CAST(NULL AS DECIMAL(12,4)), CAST(NULL AS DECIMAL(7,4)), 'D', s.practitioner_id,
      COALESCE(d.practitioner_code, ''), c.practitioner_id, CAST(NULL AS SIGNED),
      CAST(0 AS DECIMAL(12,4)), c.gst_amount, s.commission_percent, c.location_id, c.location_id,
      IF(c.reversal = 1, 'R', 'N'), CAST(NULL AS DECIMAL(12,4)), NULLIF(g.plan_status, NULL),
      CAST(NULL AS SIGNED), c.date_processing, c.ts_4_update, NULL, CAST(NULL AS SIGNED),
      CAST(NULL AS DECIMAL(12,4)), '', '', ''
    FROM discount c
    JOIN invoice_practitioner s ON s.invoice_id = c.invoice_id
    LEFT JOIN practitioner d ON d.practitioner_id = s.practitioner_id
    LEFT JOIN patient p ON p.patient_id = c.patient_id
    LEFT JOIN account_payment_plan g ON g.invoice_id = c.invoice_id
    WHERE (c.ts_4_update >= v_from OR v_from IS NULL)
      AND (c.ts_4_update < v_until OR v_until IS NULL)
    ORDER BY transaction_id, transaction_type_1, allocation_id, fin_key;
  ELSE
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'p_date_modifier must be All, Created or Updated';
  END IF;
END
