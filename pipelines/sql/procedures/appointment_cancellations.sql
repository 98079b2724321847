-- The appointment_cancellations procedure: one row per appointment that was
-- cancelled or failed, deleted rows included.
--
-- The business date, on which date_modifier All keeps the range, is cancelled_date,
-- the moment of the cancellation. Created is about the cancellation. Updated, and
-- updated_date, are about the cancellation and the reason that it names.
--
-- NULLIF(x, NULL) is x. It tells the embedded server that a LEFT JOIN may leave it
-- NULL.
--
-- A date of zeros is before every other one, but is NULL once it has been through an
-- expression under a mode that forbids it.
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
CREATE PROCEDURE appointment_cancellations(IN p_from_date DATE, IN p_to_date DATE, IN p_date_modifier VARCHAR(10))
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
    SELECT cancellation_id
    FROM appointment_cancellation
    WHERE v_by = 'all' AND (cancelled_date >= v_from OR v_from IS NULL)
      AND (cancelled_date < v_until OR v_until IS NULL)
    UNION
    SELECT cancellation_id
    FROM appointment_cancellation
    WHERE v_by = 'created' AND (ts_4_insert >= v_from OR v_from IS NULL)
      AND (ts_4_insert < v_until OR v_until IS NULL)
    UNION
    SELECT cancellation_id
    FROM appointment_cancellation
    WHERE v_by = 'updated' AND (ts_4_update >= v_from OR v_from IS NULL)
      AND (ts_4_update < v_until OR v_until IS NULL)
    UNION
    SELECT c.cancellation_id
    FROM cancellation_reason r, appointment_cancellation c
    WHERE c.cancellation_reason_id = r.cancellation_reason_id AND v_by = 'updated'
      AND (r.ts_4_update >= v_from OR v_from IS NULL) AND (r.ts_4_update < v_until OR v_until IS NULL)
  )
  SELECT *
  FROM (
    SELECT
      c.cancellation_id, c.appointment_id, c.patient_id, c.practitioner_id, c.location_id,
      c.appointment_book_id, c.appointment_date, c.start_time, c.cancellation_type,
      c.cancellation_reason_id, NULLIF(r.cancellation_reason, NULL) AS cancellation_reason, c.notes,
      c.cancelled_by, c.cancelled_date, c.rescheduled, c.ts_4_insert AS created_date,
      IF(r.ts_4_update > c.ts_4_update, r.ts_4_update, c.ts_4_update) AS updated_date, c.is_deleted
    FROM chosen k
    JOIN appointment_cancellation c ON c.cancellation_id = k.cancellation_id
    LEFT JOIN cancellation_reason r ON r.cancellation_reason_id = c.cancellation_reason_id
  ) x
  WHERE v_by <> 'updated'
    OR COALESCE(updated_date >= v_from, v_from IS NULL) AND COALESCE(updated_date < v_until, TRUE)
  ORDER BY cancellation_id;
END
