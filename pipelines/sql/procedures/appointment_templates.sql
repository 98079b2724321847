-- The appointment_templates procedure: every time that is kept free in a book,
-- deleted ones included.
--
-- It takes no parameters. Rows come ordered by key. The file holds exactly one
-- statement.
CREATE PROCEDURE appointment_templates()
READS SQL DATA
BEGIN
  SELECT
    template_id, template_name, appointment_book_id, day_of_week, start_time, end_time,
    appointment_type_code, location_id, is_deleted
  FROM appointment_template
  ORDER BY template_id;
END
