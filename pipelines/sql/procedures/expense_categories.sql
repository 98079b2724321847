-- The expense_categories procedure: every group of expenses, deleted ones included.
--
-- It takes no parameters. Rows come ordered by key. The file holds exactly one
-- statement.
CREATE PROCEDURE expense_categories()
READS SQL DATA
BEGIN
  SELECT
    expense_category_id, name, gst_percent, cost_to_provider_percent, is_default, is_active,
    is_deleted
  FROM expense_category
  ORDER BY expense_category_id;
END
