-- The patient_lifetime_value procedure: one row per patient, deleted ones included,
-- with what the practice made of them until now.
--
-- The range chooses the patients; their sums are over everything. The business
-- date, on which date_modifier All keeps the range, is new_patient_date, as in the
-- patients procedure; Created and Updated are about the patient.
--
-- total_visits counts attended appointments that are not deleted. The sums are over
-- the patient's own invoices, reversals included: total_paid is what receipts pay
-- of them, so that a deposit is in it once it is used.
--
-- p_from_date and p_to_date are whole days, both inclusive: a timestamp in the last
-- second of p_to_date is in. NULL leaves that side open: with both NULL every row
-- comes, of whatever date. p_date_modifier is All, Created (ts_4_insert) or Updated
-- (ts_4_update), in any case; anything else, NULL too, is an error of SQLSTATE
-- 45000. Rows come ordered by key.
--
-- One SELECT per modifier, each with bounds that are constants when it is planned,
-- so that every server can use the index of its date column. Their column lists are
-- the same.
--
-- v_from and v_until are NULL on the side that is open. No bound would do:
-- 0000-00-00 is before every date that can be written under any sql_mode, and
-- 9999-12-31 has no next day. Nor has 0000-00-00, which as p_to_date must not open
-- that side. The file holds exactly one statement.
CREATE PROCEDURE patient_lifetime_value(IN p_from_date DATE, IN p_to_date DATE, IN p_date_modifier VARCHAR(10))
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
      p.patient_id, p.surname AS patient_surname, p.first_name AS patient_firstname,
      p.first_seen_date, p.latest_seen_date, t.total_visits, t.total_invoiced, t.total_discount,
      t.total_paid,
      CAST(t.total_invoiced - t.total_discount - t.total_paid AS DECIMAL(14,4)) AS outstanding_balance,
      CAST(IF(t.total_visits = 0, 0, t.total_invoiced / t.total_visits) AS DECIMAL(14,4))
        AS average_visit_value,
      p.location_id, p.practitioner_id, p.ts_4_insert AS created_date, p.ts_4_update AS updated_date
    FROM patient p, (
      SELECT
        m.patient_id, CAST(SUM(m.visits) AS SIGNED) AS total_visits,
        CAST(SUM(m.invoiced) AS DECIMAL(14,4)) AS total_invoiced,
        CAST(SUM(m.discounted) AS DECIMAL(14,4)) AS total_discount,
        CAST(SUM(m.paid) AS DECIMAL(14,4)) AS total_paid
      FROM (
        SELECT
          p.patient_id, 0 AS visits, CAST(0 AS DECIMAL(12,4)) AS invoiced,
          CAST(0 AS DECIMAL(12,4)) AS discounted, CAST(0 AS DECIMAL(12,4)) AS paid
        FROM patient p
        WHERE (p.new_patient_date >= v_from OR v_from IS NULL)
          AND (p.new_patient_date < v_until OR v_until IS NULL)
        UNION ALL
        SELECT p.patient_id, 1, CAST(0 AS DECIMAL(12,4)), CAST(0 AS DECIMAL(12,4)), CAST(0 AS DECIMAL(12,4))
        FROM appointment a, patient p
        WHERE p.patient_id = a.patient_id AND a.attended = 1 AND a.is_deleted = 0
          AND (p.new_patient_date >= v_from OR v_from IS NULL)
          AND (p.new_patient_date < v_until OR v_until IS NULL)
        UNION ALL
        SELECT p.patient_id, 0, i.amount, CAST(0 AS DECIMAL(12,4)), CAST(0 AS DECIMAL(12,4))
        FROM invoice i, patient p
        WHERE p.patient_id = i.patient_id
          AND (p.new_patient_date >= v_from OR v_from IS NULL)
          AND (p.new_patient_date < v_until OR v_until IS NULL)
        UNION ALL
        SELECT p.patient_id, 0, CAST(0 AS DECIMAL(12,4)), c.amount, CAST(0 AS DECIMAL(12,4))
        FROM discount c, patient p
        WHERE p.patient_id = c.patient_id
          AND (p.new_patient_date >= v_from OR v_from IS NULL)
          AND (p.new_patient_date < v_until OR v_until IS NULL)
        UNION ALL
        SELECT p.patient_id, 0, CAST(0 AS DECIMAL(12,4)), CAST(0 AS DECIMAL(12,4)), a.amount
        FROM payment_allocation a, patient p
        WHERE p.patient_id = a.patient_id
          AND (p.new_patient_date >= v_from OR v_from IS NULL)
          AND (p.new_patient_date < v_until OR v_until IS NULL)
      ) m
      GROUP BY m.patient_id
    ) t
    WHERE p.patient_id = t.patient_id
    ORDER BY p.patient_id;
  ELSEIF LOWER(p_date_modifier) = 'created' THEN
    SELECT
      p.patient_id, p.surname AS patient_surname, p.first_name AS patient_firstname,
      p.first_seen_date, p.latest_seen_date, t.total_visits, t.total_invoiced, t.total_discount,
      t.total_paid,
      CAST(t.total_invoiced - t.total_discount - t.total_paid AS DECIMAL(14,4)) AS outstanding_balance,
      CAST(IF(t.total_visits = 0, 0, t.total_invoiced / t.total_visits) AS DECIMAL(14,4))
        AS average_visit_value,
      p.location_id, p.practitioner_id, p.ts_4_insert AS created_date, p.ts_4_update AS updated_date
    FROM patient p, (
      SELECT
        m.patient_id, CAST(SUM(m.visits) AS SIGNED) AS total_visits,
        CAST(SUM(m.invoiced) AS DECIMAL(14,4)) AS total_invoiced,
        CAST(SUM(m.discounted) AS DECIMAL(14,4)) AS total_discount,
        CAST(SUM(m.paid) AS DECIMAL(14,4)) AS total_paid
      FROM (
        SELECT
          p.patient_id, 0 AS visits, CAST(0 AS DECIMAL(12,4)) AS invoiced,
          CAST(0 AS DECIMAL(12,4)) AS discounted, CAST(0 AS DECIMAL(12,4)) AS paid
        FROM patient p
        WHERE (p.ts_4_insert >= v_from OR v_from IS NULL)
          AND (p.ts_4_insert < v_until OR v_until IS NULL)
        UNION ALL
        SELECT p.patient_id, 1, CAST(0 AS DECIMAL(12,4)), CAST(0 AS DECIMAL(12,4)), CAST(0 AS DECIMAL(12,4))
        FROM appointment a, patient p
        WHERE p.patient_id = a.patient_id AND a.attended = 1 AND a.is_deleted = 0
          AND (p.ts_4_insert >= v_from OR v_from IS NULL)
          AND (p.ts_4_insert < v_until OR v_until IS NULL)
        UNION ALL
        SELECT p.patient_id, 0, i.amount, CAST(0 AS DECIMAL(12,4)), CAST(0 AS DECIMAL(12,4))
        FROM invoice i, patient p
        WHERE p.patient_id = i.patient_id
          AND (p.ts_4_insert >= v_from OR v_from IS NULL)
          AND (p.ts_4_insert < v_until OR v_until IS NULL)
        UNION ALL
        SELECT p.patient_id, 0, CAST(0 AS DECIMAL(12,4)), c.amount, CAST(0 AS DECIMAL(12,4))
        FROM discount c, patient p
        WHERE p.patient_id = c.patient_id
          AND (p.ts_4_insert >= v_from OR v_from IS NULL)
          AND (p.ts_4_insert < v_until OR v_until IS NULL)
        UNION ALL
        SELECT p.patient_id, 0, CAST(0 AS DECIMAL(12,4)), CAST(0 AS DECIMAL(12,4)), a.amount
        FROM payment_allocation a, patient p
        WHERE p.patient_id = a.patient_id
          AND (p.ts_4_insert >= v_from OR v_from IS NULL)
          AND (p.ts_4_insert < v_until OR v_until IS NULL)
      ) m
      GROUP BY m.patient_id
    ) t
    WHERE p.patient_id = t.patient_id
    ORDER BY p.patient_id;
  ELSEIF LOWER(p_date_modifier) = 'updated' THEN
    SELECT
      p.patient_id, p.surname AS patient_surname, p.first_name AS patient_firstname,
      p.first_seen_date, p.latest_seen_date, t.total_visits, t.total_invoiced, t.total_discount,
      t.total_paid,
      CAST(t.total_invoiced - t.total_discount - t.total_paid AS DECIMAL(14,4)) AS outstanding_balance,
      CAST(IF(t.total_visits = 0, 0, t.total_invoiced / t.total_visits) AS DECIMAL(14,4))
        AS average_visit_value,
      p.location_id, p.practitioner_id, p.ts_4_insert AS created_date, p.ts_4_update AS updated_date
    FROM patient p, (
      SELECT
        m.patient_id, CAST(SUM(m.visits) AS SIGNED) AS total_visits,
        CAST(SUM(m.invoiced) AS DECIMAL(14,4)) AS total_invoiced,
        CAST(SUM(m.discounted) AS DECIMAL(14,4)) AS total_discount,
        CAST(SUM(m.paid) AS DECIMAL(14,4)) AS total_paid
      FROM (
        SELECT
          p.patient_id, 0 AS visits, CAST(0 AS DECIMAL(12,4)) AS invoiced,
          CAST(0 AS DECIMAL(12,4)) AS discounted, CAST(0 AS DECIMAL(12,4)) AS paid
        FROM patient p
        WHERE (p.ts_4_update >= v_from OR v_from IS NULL)
          AND (p.ts_4_update < v_until OR v_until IS NULL)
        UNION ALL
        SELECT p.patient_id, 1, CAST(0 AS DECIMAL(12,4)), CAST(0 AS DECIMAL(12,4)), CAST(0 AS DECIMAL(12,4))
        FROM appointment a, patient p
        WHERE p.patient_id = a.patient_id AND a.attended = 1 AND a.is_deleted = 0
          AND (p.ts_4_update >= v_from OR v_from IS NULL)
          AND (p.ts_4_update < v_until OR v_until IS NULL)
        UNION ALL
        SELECT p.patient_id, 0, i.amount, CAST(0 AS DECIMAL(12,4)), CAST(0 AS DECIMAL(12,4))
        FROM invoice i, patient p
        WHERE p.patient_id = i.patient_id
          AND (p.ts_4_update >= v_from OR v_from IS NULL)
          AND (p.ts_4_update < v_until OR v_until IS NULL)
        UNION ALL
        SELECT p.patient_id, 0, CAST(0 AS DECIMAL(12,4)), c.amount, CAST(0 AS DECIMAL(12,4))
        FROM discount c, patient p
        WHERE p.patient_id = c.patient_id
          AND (p.ts_4_update >= v_from OR v_from IS NULL)
          AND (p.ts_4_update < v_until OR v_until IS NULL)
        UNION ALL
        SELECT p.patient_id, 0, CAST(0 AS DECIMAL(12,4)), CAST(0 AS DECIMAL(12,4)), a.amount
        FROM payment_allocation a, patient p
        WHERE p.patient_id = a.patient_id
          AND (p.ts_4_update >= v_from OR v_from IS NULL)
          AND (p.ts_4_update < v_until OR v_until IS NULL)
      ) m
      GROUP BY m.patient_id
    ) t
    WHERE p.patient_id = t.patient_id
    ORDER BY p.patient_id;
  ELSE
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'p_date_modifier must be All, Created or Updated';
  END IF;
END
