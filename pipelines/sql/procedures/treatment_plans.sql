-- The treatment_plans procedure: one row per line of a treatment plan, deleted ones
-- included.
--
-- The business date, on which date_modifier All keeps the range, is plan_date, the
-- day on which the plan was proposed. Created and Updated are about the line.
--
-- p_from_date and p_to_date are whole days, both inclusive: a timestamp in the last
-- second of p_to_date is in. NULL leaves that side open. p_date_modifier is All,
-- Created (ts_4_insert) or Updated (ts_4_update), in any case; anything else, NULL
-- too, is an error of SQLSTATE 45000. Rows come ordered by key.
--
-- One SELECT per modifier, each with bounds that are constants when it is planned,
-- so that every server can use the index of its date column. Their column lists are
-- the same. The file holds exactly one statement.
CREATE PROCEDURE treatment_plans(IN p_from_date DATE, IN p_to_date DATE, IN p_date_modifier VARCHAR(10))
READS SQL DATA
BEGIN
  DECLARE v_from DATE;
  DECLARE v_until DATE;
  SELECT
    COALESCE(p_from_date, DATE '0001-01-01'),
    IF(p_to_date < DATE '9999-12-31', p_to_date + INTERVAL 1 DAY, DATE '9999-12-31')
  INTO v_from, v_until;

  IF LOWER(p_date_modifier) = 'all' THEN
    SELECT
      i.plan_id, i.plan_item_id, p.patient_id, p.plan_name, p.plan_date, i.item_code, i.item_qty,
      i.item_fee, i.tooth_number, i.visit_number, i.accepted, i.completed, i.practitioner_id,
      p.location_id, i.ts_4_insert AS created_date, i.ts_4_update AS updated_date, i.is_deleted
    FROM treatment_plan_item i
    JOIN treatment_plan p ON p.plan_id = i.plan_id
    WHERE p.plan_date >= v_from
      AND p.plan_date < v_until
    ORDER BY i.plan_item_id;
  ELSEIF LOWER(p_date_modifier) = 'created' THEN
    SELECT
      i.plan_id, i.plan_item_id, p.patient_id, p.plan_name, p.plan_date, i.item_code, i.item_qty,
      i.item_fee, i.tooth_number, i.visit_number, i.accepted, i.completed, i.practitioner_id,
      p.location_id, i.ts_4_insert AS created_date, i.ts_4_update AS updated_date, i.is_deleted
    FROM treatment_plan_item i
    JOIN treatment_plan p ON p.plan_id = i.plan_id
    WHERE i.ts_4_insert >= v_from
      AND i.ts_4_insert < v_until
    ORDER BY i.plan_item_id;
  ELSEIF LOWER(p_date_modifier) = 'updated' THEN
    SELECT
      i.plan_id, i.plan_item_id, p.patient_id, p.plan_name, p.plan_date, i.item_code, i.item_qty,
      i.item_fee, i.tooth_number, i.visit_number, i.accepted, i.completed, i.practitioner_id,
      p.location_id, i.ts_4_insert AS created_date, i.ts_4_update AS updated_date, i.is_deleted
    FROM treatment_plan_item i
    JOIN treatment_plan p ON p.plan_id = i.plan_id
    WHERE i.ts_4_update >= v_from
      AND i.ts_4_update < v_until
    ORDER BY i.plan_item_id;
  ELSE
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'p_date_modifier must be All, Created or Updated';
  END IF;
END
