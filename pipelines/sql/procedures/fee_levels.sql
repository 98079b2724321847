-- The fee_levels procedure: every price list, deleted ones included.
--
-- It takes no parameters. Rows come ordered by key. The file holds exactly one
-- statement.
CREATE PROCEDURE fee_levels()
READS SQL DATA
BEGIN
  SELECT
    fee_level_id, fee_level_name, is_default, is_active, is_deleted
  FROM fee_level
  ORDER BY fee_level_id;
END
