-- The fee_schedules procedure: every price, deleted ones included.
--
-- It takes no parameters. Rows come ordered by key. The file holds exactly one
-- statement.
CREATE PROCEDURE fee_schedules()
READS SQL DATA
BEGIN
  SELECT
    fee_schedule_id, fee_level_id, item_code, fee, effective_from, effective_to, location_id,
    is_deleted
  FROM fee_schedule
  ORDER BY fee_schedule_id;
END
