-- The recall_types procedure: every type of a recall, deleted ones included.
--
-- It takes no parameters. Rows come ordered by key. The file holds exactly one
-- statement.
CREATE PROCEDURE recall_types()
READS SQL DATA
BEGIN
  SELECT
    recall_type_id, recall_type, recall_set_id, interval_months, reminder_order, is_active, is_deleted
  FROM recall_type
  ORDER BY recall_type_id;
END
