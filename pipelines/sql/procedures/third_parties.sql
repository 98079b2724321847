-- The third_parties procedure: every third party that pays for patients, deleted
-- ones included.
--
-- It takes no parameters. Rows come ordered by key. The file holds exactly one
-- statement.
CREATE PROCEDURE third_parties()
READS SQL DATA
BEGIN
  SELECT
    third_party_id, third_party_name, address1, suburb, state, postcode, phone, email, is_active,
    is_deleted
  FROM third_party
  ORDER BY third_party_id;
END
