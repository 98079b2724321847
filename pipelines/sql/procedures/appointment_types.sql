-- The appointment_types procedure: every type of an appointment, deleted ones
-- included.
--
-- It takes no parameters. Rows come ordered by key. The file holds exactly one
-- statement.
CREATE PROCEDURE appointment_types()
READS SQL DATA
BEGIN
  SELECT
    appointment_type_code, appointment_type, default_duration, colour, is_active, is_deleted
  FROM appointment_type
  ORDER BY appointment_type_id;
END
