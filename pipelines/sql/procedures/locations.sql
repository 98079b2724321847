-- The locations procedure: every location of the practice, deleted ones included.
--
-- It takes no parameters. Rows come ordered by key. The file holds exactly one
-- statement.
CREATE PROCEDURE locations()
READS SQL DATA
BEGIN
  SELECT
    location_id, location_name, address1, address2, suburb, state, postcode, phone, email, time_zone,
    is_active, is_deleted
  FROM location
  ORDER BY location_id;
END
