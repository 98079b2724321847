-- The payment_types procedure: every way to pay, deleted ones included.
--
-- It takes no parameters. Rows come ordered by key. The file holds exactly one
-- statement.
CREATE PROCEDURE payment_types()
READS SQL DATA
BEGIN
  SELECT
    payment_type_id, payment_type, is_electronic, is_active, is_deleted
  FROM payment_type
  ORDER BY payment_type_id;
END
