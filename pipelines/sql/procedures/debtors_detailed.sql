-- The debtors_detailed procedure: one row per instalment on which something is owed
-- as at a day. An invoice without a payment plan is one instalment.
--
-- doctors_list and patient_id_list are all who have to do with the invoice, in
-- ascending order, however many: the session's group_concat_max_len is lifted, to
-- the length of the longest packet, while the rows are made. (The embedded server
-- cannot set it here, and starts with that.) balance_for_doctor is the leading
-- practitioner's share of the balance, rounded half away from zero. Reminders that
-- went out after p_date_as_at are not seen.
--
-- What is owed of an invoice is the sum of its movements that were effective on
-- p_date_as_at or before: its amount and its reversal's, less payments and
-- discounts. It is read from the ledger itself, not from invoice.date_settled. What
-- was paid is taken off the instalments in their order, and the last one takes what
-- is left, whatever the instalments come to: so the rows always come to what is
-- owed, and an invoice that was paid too much shows it on its last one. An invoice
-- without instalments is one row, due on its own date_due. A reversal of nothing
-- counts by itself. What was paid for an invoice that is gone is a row that knows
-- the invoice only.
--
-- Only what has a balance is in, with a due day until p_due_date_upto, or none.
-- Days due are counted from p_date_for_due_days; they are negative before the due
-- day.
--
-- All three days are required: NULL is an error of SQLSTATE 45000. Rows come
-- ordered by invoice and instalment.
--
-- The embedded server knows parameters in WITH, WHERE and the SELECT list, not below
-- a JOIN, and takes decimals for floating point in GREATEST and LEAST. NULLIF(x,
-- NULL) is x, and tells it that x may be NULL. The file holds exactly one statement.
CREATE PROCEDURE debtors_detailed(IN p_date_as_at DATE, IN p_date_for_due_days DATE, IN p_due_date_upto DATE)
READS SQL DATA
BEGIN
  DECLARE v_length BIGINT UNSIGNED;
  IF p_date_as_at IS NULL OR p_date_for_due_days IS NULL OR p_due_date_upto IS NULL THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'p_date_as_at, p_date_for_due_days and p_due_date_upto must be dates';
  END IF;
  SELECT @@SESSION.group_concat_max_len INTO v_length;
  IF v_length < 1073741824 THEN
    SET SESSION group_concat_max_len = 1073741824;
  END IF;

  WITH owing AS (
    SELECT u.invoice_id, CAST(SUM(u.amount) AS DECIMAL(34,4)) AS owed
    FROM (
      SELECT COALESCE(o.invoice_id, i.invoice_id) AS invoice_id, i.amount
      FROM invoice i
      LEFT JOIN invoice o ON o.invoice_id = IF(i.reversal = 1, i.reverses_invoice_id, NULL)
      WHERE i.date_effective <= p_date_as_at
      UNION ALL
      SELECT a.invoice_id, CAST(-a.amount AS DECIMAL(12,4))
      FROM payment_allocation a
      WHERE a.date_effective <= p_date_as_at
      UNION ALL
      SELECT d.invoice_id, CAST(-d.amount AS DECIMAL(12,4))
      FROM discount d
      WHERE d.date_effective <= p_date_as_at
    ) u
    GROUP BY u.invoice_id
    HAVING SUM(u.amount) <> 0
  ), balances AS (
    SELECT
      x.invoice_id, x.instalment_id, x.instalment_number, x.date_due, x.instalment,
      CAST(
        IF(x.place = 1, x.owed, IF(x.upto > x.settled, x.upto - x.settled, 0))
        - IF(x.before_it > x.settled, x.before_it - x.settled, 0) AS DECIMAL(34,4)
      ) AS balance,
      IF(x.rem_1 <= p_date_as_at, DATE_FORMAT(x.rem_1, '%Y-%m-%d'), NULL) AS rem_1,
      IF(x.rem_2 <= p_date_as_at, DATE_FORMAT(x.rem_2, '%Y-%m-%d'), NULL) AS rem_2,
      IF(x.rem_3 <= p_date_as_at, DATE_FORMAT(x.rem_3, '%Y-%m-%d'), NULL) AS rem_3,
      IF(x.rem_bad <= p_date_as_at, DATE_FORMAT(x.rem_bad, '%Y-%m-%d'), NULL) AS rem_bad,
      x.send_acc_to_third_party, x.patient_firstname, x.patient_surname, x.third_party_name,
      x.send_acc_to_pat_id,
      NULLIF(DATEDIFF(p_date_for_due_days, x.date_due), NULL) AS days_due,
      x.account_payment_plan_id, x.notes, x.patient_head_id, x.printed, x.reminder_printed,
      x.location_id
    FROM (
      SELECT
        z.*, IF(z.total > z.owed, z.total - z.owed, 0) AS settled,
        IF(z.running > z.total, z.total, z.running) AS upto,
        IF(z.running - z.instalment > z.total, z.total, z.running - z.instalment) AS before_it
      FROM (
        SELECT
          k.invoice_id, n.instalment_id, NULLIF(n.instalment_number, NULL) AS instalment_number,
          NULLIF(COALESCE(n.date_due, i.date_due), NULL) AS date_due, NULLIF(n.amount, NULL) AS instalment,
          n.rem_1, n.rem_2, n.rem_3, n.rem_bad,
          IF(i.third_party_id IS NULL, 0, 1) AS send_acc_to_third_party,
          COALESCE(h.first_name, '') AS patient_firstname, COALESCE(h.surname, '') AS patient_surname,
          NULLIF(y.third_party_name, NULL) AS third_party_name,
          NULLIF(i.send_acc_to_pat_id, NULL) AS send_acc_to_pat_id, n.account_payment_plan_id, n.notes,
          NULLIF(i.patient_head_id, NULL) AS patient_head_id, NULLIF(n.printed, NULL) AS printed,
          NULLIF(n.reminder_printed, NULL) AS reminder_printed,
          NULLIF(i.location_id, NULL) AS location_id, k.owed, COALESCE(i.amount, 0) AS total,
          CAST(SUM(n.amount) OVER (
            PARTITION BY k.invoice_id ORDER BY n.instalment_number, n.instalment_id
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
          ) AS DECIMAL(34,4)) AS running,
          ROW_NUMBER() OVER (
            PARTITION BY k.invoice_id ORDER BY n.instalment_number DESC, n.instalment_id DESC
          ) AS place
        FROM owing k
        LEFT JOIN invoice i ON i.invoice_id = k.invoice_id
        LEFT JOIN invoice_instalment n ON n.invoice_id = k.invoice_id
        LEFT JOIN patient h ON h.patient_id = i.patient_head_id
        LEFT JOIN third_party y ON y.third_party_id = i.third_party_id
      ) z
    ) x
    WHERE x.date_due <= p_due_date_upto OR x.date_due IS NULL
  )
  SELECT
    b.invoice_id, b.instalment_number, b.date_due, b.instalment, b.balance, b.rem_1, b.rem_2, b.rem_3,
    b.rem_bad, b.send_acc_to_third_party, b.patient_firstname, b.patient_surname, b.third_party_name,
    b.send_acc_to_pat_id, b.days_due, b.account_payment_plan_id, b.notes,
    NULLIF(l.doctors_list, NULL) AS doctors_list, NULLIF(l.patient_id_list, NULL) AS patient_id_list,
    CAST(b.balance * COALESCE(l.involvement, 0) / CAST(100 AS DECIMAL(7,4)) AS DECIMAL(34,4))
      AS balance_for_doctor,
    b.patient_head_id, IF(b.rem_bad IS NULL, '0', '1') AS bad_debt, b.printed, b.reminder_printed,
    b.location_id
  FROM balances b
  LEFT JOIN (
    SELECT
      w.invoice_id,
      GROUP_CONCAT(DISTINCT w.practitioner_id ORDER BY w.practitioner_id SEPARATOR ',') AS doctors_list,
      GROUP_CONCAT(DISTINCT w.patient_id ORDER BY w.patient_id SEPARATOR ',') AS patient_id_list,
      CAST(SUM(w.involvement) AS DECIMAL(29,4)) AS involvement
    FROM (
      SELECT i.invoice_id, i.practitioner_id, i.patient_id, CAST(0 AS DECIMAL(7,4)) AS involvement
      FROM owing k
      JOIN invoice i ON i.invoice_id = k.invoice_id
      UNION ALL
      SELECT
        s.invoice_id, s.practitioner_id, CAST(NULL AS SIGNED),
        CAST(IF(s.practitioner_id = i.practitioner_id, s.involvement, 0) AS DECIMAL(7,4))
      FROM owing k
      JOIN invoice_practitioner s ON s.invoice_id = k.invoice_id
      LEFT JOIN invoice i ON i.invoice_id = k.invoice_id
      UNION ALL
      SELECT t.invoice_id, CAST(NULL AS SIGNED), t.patient_id, CAST(0 AS DECIMAL(7,4))
      FROM owing k
      JOIN treatment t ON t.invoice_id = k.invoice_id
      WHERE t.is_deleted = 0
    ) w
    GROUP BY w.invoice_id
  ) l ON l.invoice_id = b.invoice_id
  WHERE b.balance <> 0
  ORDER BY b.invoice_id, b.instalment_number, b.instalment_id;
  IF v_length < 1073741824 THEN
    SET SESSION group_concat_max_len = v_length;
  END IF;
END
