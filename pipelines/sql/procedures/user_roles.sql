-- The user_roles procedure: every role of users, deleted ones included.
--
-- It takes no parameters. Rows come ordered by key. The file holds exactly one
-- statement.
CREATE PROCEDURE user_roles()
READS SQL DATA
BEGIN
  SELECT
    user_role_id, role_name, description, is_active, is_deleted
  FROM user_role
  ORDER BY user_role_id;
END
