-- The recall_sets procedure: every set of recall types, deleted ones included.
--
-- It takes no parameters. Rows come ordered by key. The file holds exactly one
-- statement.
CREATE PROCEDURE recall_sets()
READS SQL DATA
BEGIN
  SELECT
    recall_set_id, recall_set, location_id, is_automated, is_active, is_deleted
  FROM recall_set
  ORDER BY recall_set_id;
END
