-- The appointment_cancellations procedure: one row per appointment that was
-- cancelled or failed, deleted rows included.
--
-- The business date, on which date_modifier All keeps the range, is cancelled_date,
-- the moment of the cancellation.
--
-- NULLIF(x, NULL) is x. It tells the embedded server that a LEFT JOIN may leave it
-- NULL.
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
CREATE PROCEDURE appointment_cancellations(IN p_from_date DATE, IN p_to_date DATE, IN p_date_modifier VARCHAR(10))
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
      c.cancellation_id, c.appointment_id, c.patient_id, c.practitioner_id, c.location_id,
      c.appointment_book_id, c.appointment_date, c.start_time, c.cancellation_type,
      c.cancellation_reason_id, NULLIF(r.cancellation_reason, NULL) AS cancellation_reason, c.notes,
      c.cancelled_by, c.cancelled_date, c.rescheduled, c.ts_4_insert AS created_date,
      c.ts_4_update AS updated_date, c.is_deleted
    FROM appointment_cancellation c
    LEFT JOIN cancellation_reason r ON r.cancellation_reason_id = c.cancellation_reason_id
    WHERE (c.cancelled_date >= v_from OR v_from IS NULL)
      AND (c.cancelled_date < v_until OR v_until IS NULL)
    ORDER BY c.cancellation_id;
  ELSEIF LOWER(p_date_modifier) = 'created' THEN
    SELECT
      c.cancellation_id, c.appointment_id, c.patient_id, c.practitioner_id, c.location_id,
      c.appointment_book_id, c.appointment_date, c.start_time, c.cancellation_type,
      c.cancellation_reason_id, NULLIF(r.cancellation_reason, NULL) AS cancellation_reason, c.notes,
      c.cancelled_by, c.cancelled_date, c.rescheduled, c.ts_4_insert AS created_date,
      c.ts_4_update AS updated_date, c.is_deleted
    FROM appointment_cancellation c
    LEFT JOIN cancellation_reason r ON r.cancellation_reason_id = c.cancellation_reason_id
    WHERE (c.ts_4_insert >= v_from OR v_from IS NULL)
      AND (c.ts_4_insert < v_until OR v_until IS NULL)
    ORDER BY c.cancellation_id;
  ELSEIF LOWER(p_date_modifier) = 'updated' THEN
    SELECT
      c.cancellation_id, c.appointment_id, c.patient_id, c.practitioner_id, c.location_id,
      c.appointment_book_id, c.appointment_date, c.start_time, c.cancellation_type,
      c.cancellation_reason_id, NULLIF(r.cancellation_reason, NULL) AS cancellation_reason, c.notes,
      c.cancelled_by, c.cancelled_date, c.rescheduled, c.ts_4_insert AS created_date,
      c.ts_4_update AS updated_date, c.is_deleted
    FROM appointment_cancellation c
    LEFT JOIN cancellation_reason r ON r.cancellation_reason_id = c.cancellation_reason_id
    WHERE (c.ts_4_update >= v_from OR v_from IS NULL)
      AND (c.ts_4_update < v_until OR v_until IS NULL)
    ORDER BY c.cancellation_id;
  ELSE
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'p_date_modifier must be All, Created or Updated';
  END IF;
END
