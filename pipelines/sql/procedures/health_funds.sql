-- The health_funds procedure: every health fund, deleted ones included.
--
-- It takes no parameters. Rows come ordered by key. The file holds exactly one
-- statement.
CREATE PROCEDURE health_funds()
READS SQL DATA
BEGIN
  SELECT
    health_fund_id, health_fund_name, health_fund_code, is_active, is_deleted
  FROM health_fund
  ORDER BY health_fund_id;
END
