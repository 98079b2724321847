-- The treatment_plans procedure: one row per line of a treatment plan, deleted ones
-- included.
--
-- The business date, on which date_modifier All keeps the range, is plan_date, the
-- day on which the plan was proposed; a line whose plan is gone comes by the day on
-- which the line was created. Created is about the line. Updated, and updated_date,
-- are about the line and its plan.
--
-- A date of zeros is before every other one, but is NULL once it has been through an
-- expression under a mode that forbids it.
--
-- p_from_date and p_to_date are whole days, both inclusive: a timestamp in the last
-- second of p_to_date is in. NULL leaves that side open: with both NULL every row
-- comes, of whatever date. p_date_modifier is All, Created (ts_4_insert) or Updated
-- (ts_4_update), in any case; anything else, NULL too, is an error of SQLSTATE
-- 45000. Rows come ordered by key.
--
-- Keys are chosen first. Every bound is a constant when the statement is planned, and
-- v_by too, so that every server can use the index of each date column and reads
-- nothing for the modifiers that are not asked for. Parameters stand in WITH and in
-- the last WHERE: the embedded server knows them nowhere below a JOIN.
--
-- v_from and v_until are NULL on the side that is open. No bound would do:
-- 0000-00-00 is before every date that can be written under any sql_mode, and
-- 9999-12-31 has no next day. Nor has 0000-00-00, which as p_to_date must not open
-- that side. The file holds exactly one statement.
CREATE PROCEDURE treatment_plans(IN p_from_date DATE, IN p_to_date DATE, IN p_date_modifier VARCHAR(10))
READS SQL DATA
BEGIN
  DECLARE v_from DATE;
  DECLARE v_until DATE;
  DECLARE v_by VARCHAR(10);
  SELECT
    p_from_date,
    IF(p_to_date < DATE '9999-12-31', COALESCE(p_to_date + INTERVAL 1 DAY, p_to_date), NULL),
    LOWER(p_date_modifier)
  INTO v_from, v_until, v_by;
  IF v_by IS NULL OR v_by NOT IN ('all', 'created', 'updated') THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'p_date_modifier must be All, Created or Updated';
  END IF;

  WITH chosen AS (
    SELECT i.plan_item_id
    FROM treatment_plan p, treatment_plan_item i
    WHERE i.plan_id = p.plan_id AND v_by = 'all' AND (p.plan_date >= v_from OR v_from IS NULL)
      AND (p.plan_date < v_until OR v_until IS NULL)
    UNION
    SELECT i.plan_item_id
    FROM treatment_plan_item i
    LEFT JOIN treatment_plan p ON p.plan_id = i.plan_id
    WHERE p.plan_id IS NULL AND v_by = 'all' AND (i.ts_4_insert >= v_from OR v_from IS NULL)
      AND (i.ts_4_insert < v_until OR v_until IS NULL)
    UNION
    SELECT i.plan_item_id
    FROM treatment_plan_item i
    WHERE v_by = 'created' AND (i.ts_4_insert >= v_from OR v_from IS NULL)
      AND (i.ts_4_insert < v_until OR v_until IS NULL)
    UNION
    SELECT i.plan_item_id
    FROM treatment_plan_item i
    WHERE v_by = 'updated' AND (i.ts_4_update >= v_from OR v_from IS NULL)
      AND (i.ts_4_update < v_until OR v_until IS NULL)
    UNION
    SELECT i.plan_item_id
    FROM treatment_plan p, treatment_plan_item i
    WHERE i.plan_id = p.plan_id AND v_by = 'updated' AND (p.ts_4_update >= v_from OR v_from IS NULL)
      AND (p.ts_4_update < v_until OR v_until IS NULL)
  )
  SELECT
    x.plan_id, x.plan_item_id, x.patient_id, x.plan_name, x.plan_date, x.item_code, x.item_qty,
    x.item_fee, x.tooth_number, x.visit_number, x.accepted, x.completed, x.practitioner_id,
    x.location_id, x.created_date, x.updated_date, x.is_deleted
  FROM (
    SELECT
      i.plan_id, i.plan_item_id, NULLIF(p.patient_id, NULL) AS patient_id, p.plan_name,
      NULLIF(p.plan_date, NULL) AS plan_date, i.item_code, i.item_qty, i.item_fee, i.tooth_number,
      i.visit_number, i.accepted, i.completed, i.practitioner_id,
      NULLIF(p.location_id, NULL) AS location_id, i.ts_4_insert AS created_date,
      IF(p.ts_4_update > i.ts_4_update, p.ts_4_update, i.ts_4_update) AS updated_date, i.is_deleted
    FROM chosen k
    JOIN treatment_plan_item i ON i.plan_item_id = k.plan_item_id
    LEFT JOIN treatment_plan p ON p.plan_id = i.plan_id
  ) x
  WHERE v_by <> 'updated'
    OR COALESCE(x.updated_date >= v_from, v_from IS NULL) AND COALESCE(x.updated_date < v_until, TRUE)
  ORDER BY x.plan_item_id;
END
