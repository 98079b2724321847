-- The appointment_books procedure: every appointment book, deleted ones included.
--
-- It takes no parameters. Rows come ordered by key. The file holds exactly one
-- statement.
CREATE PROCEDURE appointment_books()
READS SQL DATA
BEGIN
  SELECT
    appointment_book_id, book_name, practitioner_id, location_id, book_group, time_interval,
    is_active, is_deleted
  FROM appointment_book
  ORDER BY appointment_book_id;
END
