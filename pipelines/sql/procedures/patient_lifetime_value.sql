-- The patient_lifetime_value procedure: one row per patient, deleted ones included,
-- with what the practice made of them until now.
--
-- The range chooses the patients; their sums are over everything. The business
-- date, on which date_modifier All keeps the range, is new_patient_date, as in the
-- patients procedure; Created is about the patient. Updated, and updated_date, are
-- about the patient, their appointments, and the invoices, discounts and payments
-- that the sums are over. A patient that is gone, and left any of these, has no
-- business date and no row, but comes with Updated, and whenever both sides are open.
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
-- Keys are chosen first. Every bound is a constant when the statement is planned, and
-- v_by too, so that every server can use the index of each date column and reads
-- nothing for the modifiers that are not asked for. Parameters stand in WITH and in
-- the last WHERE: the embedded server knows them nowhere below a JOIN.
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
  DECLARE v_by VARCHAR(10);
  SELECT
    p_from_date,
    IF(p_to_date < DATE '9999-12-31', COALESCE(p_to_date + INTERVAL 1 DAY, p_to_date), NULL),
    LOWER(p_date_modifier)
  INTO v_from, v_until, v_by;
  IF v_by IS NULL OR v_by NOT IN ('all', 'created', 'updated') THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'p_date_modifier must be All, Created or Updated';
  END IF;

  WITH chosen AS (
    SELECT patient_id
    FROM patient
    WHERE v_by = 'all' AND (new_patient_date >= v_from OR v_from IS NULL)
      AND (new_patient_date < v_until OR v_until IS NULL)
    UNION
    SELECT patient_id
    FROM patient
    WHERE v_by = 'created' AND (ts_4_insert >= v_from OR v_from IS NULL)
      AND (ts_4_insert < v_until OR v_until IS NULL)
    UNION
    SELECT patient_id
    FROM patient
    WHERE v_by = 'updated' AND (ts_4_update >= v_from OR v_from IS NULL)
      AND (ts_4_update < v_until OR v_until IS NULL)
    UNION
    SELECT patient_id
    FROM appointment
    WHERE (v_by = 'updated' OR v_from IS NULL AND v_until IS NULL)
      AND (ts_4_update >= v_from OR v_from IS NULL) AND (ts_4_update < v_until OR v_until IS NULL)
    UNION
    SELECT patient_id
    FROM invoice
    WHERE (v_by = 'updated' OR v_from IS NULL AND v_until IS NULL)
      AND (ts_4_update >= v_from OR v_from IS NULL) AND (ts_4_update < v_until OR v_until IS NULL)
    UNION
    SELECT patient_id
    FROM discount
    WHERE (v_by = 'updated' OR v_from IS NULL AND v_until IS NULL)
      AND (ts_4_update >= v_from OR v_from IS NULL) AND (ts_4_update < v_until OR v_until IS NULL)
    UNION
    SELECT patient_id
    FROM payment_allocation
    WHERE (v_by = 'updated' OR v_from IS NULL AND v_until IS NULL)
      AND (ts_4_update >= v_from OR v_from IS NULL) AND (ts_4_update < v_until OR v_until IS NULL)
  )
  SELECT
    t.patient_id, NULLIF(p.surname, NULL) AS patient_surname,
    NULLIF(p.first_name, NULL) AS patient_firstname, p.first_seen_date, p.latest_seen_date,
    t.total_visits, t.total_invoiced, t.total_discount, t.total_paid,
    CAST(t.total_invoiced - t.total_discount - t.total_paid AS DECIMAL(34,4)) AS outstanding_balance,
    CAST(IF(t.total_visits = 0, 0, CAST(t.total_invoiced AS DECIMAL(38,6)) / t.total_visits)
      AS DECIMAL(34,4)) AS average_visit_value,
    NULLIF(p.location_id, NULL) AS location_id, p.practitioner_id,
    NULLIF(p.ts_4_insert, NULL) AS created_date, t.changed AS updated_date
  FROM (
    SELECT
      m.patient_id, CAST(SUM(m.visits) AS SIGNED) AS total_visits,
      CAST(SUM(m.invoiced) AS DECIMAL(34,4)) AS total_invoiced,
      CAST(SUM(m.discounted) AS DECIMAL(34,4)) AS total_discount,
      CAST(SUM(m.paid) AS DECIMAL(34,4)) AS total_paid, MAX(m.changed) AS changed
    FROM (
      SELECT
        p.patient_id, 0 AS visits, CAST(0 AS DECIMAL(12,4)) AS invoiced, CAST(0 AS DECIMAL(12,4)) AS discounted,
        CAST(0 AS DECIMAL(12,4)) AS paid, p.ts_4_update AS changed
      FROM chosen k
      JOIN patient p ON p.patient_id = k.patient_id
      UNION ALL
      SELECT
        a.patient_id, IF(a.attended = 1 AND a.is_deleted = 0, 1, 0), CAST(0 AS DECIMAL(12,4)),
        CAST(0 AS DECIMAL(12,4)), CAST(0 AS DECIMAL(12,4)), a.ts_4_update
      FROM chosen k
      JOIN appointment a ON a.patient_id = k.patient_id
      UNION ALL
      SELECT i.patient_id, 0, i.amount, CAST(0 AS DECIMAL(12,4)), CAST(0 AS DECIMAL(12,4)), i.ts_4_update
      FROM chosen k
      JOIN invoice i ON i.patient_id = k.patient_id
      UNION ALL
      SELECT c.patient_id, 0, CAST(0 AS DECIMAL(12,4)), c.amount, CAST(0 AS DECIMAL(12,4)), c.ts_4_update
      FROM chosen k
      JOIN discount c ON c.patient_id = k.patient_id
      UNION ALL
      SELECT a.patient_id, 0, CAST(0 AS DECIMAL(12,4)), CAST(0 AS DECIMAL(12,4)), a.amount, a.ts_4_update
      FROM chosen k
      JOIN payment_allocation a ON a.patient_id = k.patient_id
    ) m
    GROUP BY m.patient_id
  ) t
  LEFT JOIN patient p ON p.patient_id = t.patient_id
  WHERE v_by <> 'updated'
    OR COALESCE(t.changed >= v_from, v_from IS NULL) AND COALESCE(t.changed < v_until, TRUE)
  ORDER BY t.patient_id;
END
