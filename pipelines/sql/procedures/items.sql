-- The items procedure: every item that can be invoiced, deleted ones included.
--
-- It takes no parameters. Rows come ordered by key. The file holds exactly one
-- statement.
CREATE PROCEDURE items()
READS SQL DATA
BEGIN
  SELECT
    item_code, ada_item, description, item_category_id, default_fee, non_treatment, non_reporting,
    gst_applies, is_active, is_deleted
  FROM item
  ORDER BY item_id;
END
