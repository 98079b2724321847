-- The item_categories procedure: every group of items, deleted ones included.
--
-- It takes no parameters. Rows come ordered by key. The file holds exactly one
-- statement.
CREATE PROCEDURE item_categories()
READS SQL DATA
BEGIN
  SELECT
    item_category_id, category_name, parent_category_id, is_active, is_deleted
  FROM item_category
  ORDER BY item_category_id;
END
