-- The appointment_cancellation_reasons procedure: every reason for a cancellation,
-- deleted ones included.
--
-- It takes no parameters. Rows come ordered by key. The file holds exactly one
-- statement.
CREATE PROCEDURE appointment_cancellation_reasons()
READS SQL DATA
BEGIN
  SELECT
    cancellation_reason_id, cancellation_reason, is_system, is_active, is_deleted
  FROM cancellation_reason
  ORDER BY cancellation_reason_id;
END
