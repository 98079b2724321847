-- The practitioners procedure: every practitioner, deleted ones included.
--
-- It takes no parameters. Rows come ordered by key. The file holds exactly one
-- statement.
CREATE PROCEDURE practitioners()
READS SQL DATA
BEGIN
  SELECT
    practitioner_id, practitioner_code, title, first_name, surname, provider_number, profession,
    commission_percent, location_id, is_active, is_deleted
  FROM practitioner
  ORDER BY practitioner_id;
END
