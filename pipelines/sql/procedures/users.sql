-- The users procedure: every user of the practice software, deleted ones included.
--
-- It takes no parameters. Rows come ordered by key. The file holds exactly one
-- statement.
CREATE PROCEDURE users()
READS SQL DATA
BEGIN
  SELECT
    user_id, username, first_name, surname, user_role_id, practitioner_id, location_id, is_active,
    is_deleted
  FROM practice_user
  ORDER BY user_id;
END
