-- The appointment_statuses procedure: every status of an appointment, deleted ones
-- included.
--
-- It takes no parameters. Rows come ordered by key. The file holds exactly one
-- statement.
CREATE PROCEDURE appointment_statuses()
READS SQL DATA
BEGIN
  SELECT
    appointment_status_code, appointment_status, back_colour, text_colour, retain_in_standby,
    is_official, is_active, is_deleted
  FROM appointment_status
  ORDER BY appointment_status_id;
END
