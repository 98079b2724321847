-- The appointments procedure: one row per appointment, deleted and cancelled
-- ones included.
--
-- The business date, on which date_modifier All keeps the range, is
-- appointment_date.
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
CREATE PROCEDURE appointments(IN p_from_date DATE, IN p_to_date DATE, IN p_date_modifier VARCHAR(10))
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
      appointment_id, appointment_status, appointment_status_codes, cancelled, failed, attended,
      online, appointment_type_code, appointment_type, appointment_date, start_time, end_time,
      appointment_arrival_time, actual_start_time, actual_end_time, duration, recall_set_linked,
      patient_id, practitioner_id, location_id, ts_4_insert AS created_date, original_date,
      created_by, ts_4_update AS updated_date, updated_by, is_deleted, confirmed,
      appointment_book_id
    FROM appointment
    WHERE (appointment_date >= v_from OR v_from IS NULL)
      AND (appointment_date < v_until OR v_until IS NULL)
    ORDER BY appointment_id;
  ELSEIF LOWER(p_date_modifier) = 'created' THEN
    SELECT
      appointment_id, appointment_status, appointment_status_codes, cancelled, failed, attended,
      online, appointment_type_code, appointment_type, appointment_date, start_time, end_time,
      appointment_arrival_time, actual_start_time, actual_end_time, duration, recall_set_linked,
      patient_id, practitioner_id, location_id, ts_4_insert AS created_date, original_date,
      created_by, ts_4_update AS updated_date, updated_by, is_deleted, confirmed,
      appointment_book_id
    FROM appointment
    WHERE (ts_4_insert >= v_from OR v_from IS NULL)
      AND (ts_4_insert < v_until OR v_until IS NULL)
    ORDER BY appointment_id;
  ELSEIF LOWER(p_date_modifier) = 'updated' THEN
    SELECT
      appointment_id, appointment_status, appointment_status_codes, cancelled, failed, attended,
      online, appointment_type_code, appointment_type, appointment_date, start_time, end_time,
      appointment_arrival_time, actual_start_time, actual_end_time, duration, recall_set_linked,
      patient_id, practitioner_id, location_id, ts_4_insert AS created_date, original_date,
      created_by, ts_4_update AS updated_date, updated_by, is_deleted, confirmed,
      appointment_book_id
    FROM appointment
    WHERE (ts_4_update >= v_from OR v_from IS NULL)
      AND (ts_4_update < v_until OR v_until IS NULL)
    ORDER BY appointment_id;
  ELSE
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'p_date_modifier must be All, Created or Updated';
  END IF;
END
