-- The debtors_detailed procedure: one row per instalment on which something is owed
-- as at a day. An invoice without a payment plan is one instalment.
--
-- doctors_list and patient_id_list are all who have to do with the invoice, in
-- ascending order. balance_for_doctor is the leading practitioner's share of the
-- balance, rounded half away from zero. Reminders that went out after p_date_as_at
-- are not seen.
--
-- What is owed is computed from what was effective on p_date_as_at or before: an
-- instalment's balance is what is left of it when the payments, the discounts and
-- the reversal of its invoice are taken off the instalments in their order. An
-- invoice that was paid too much shows it on its last one. Only what has a balance
-- is in, with a due day until p_due_date_upto. Days due are counted from
-- p_date_for_due_days; they are negative before the due day.
--
-- An invoice is read only if date_settled, the day of the last movement that left
-- nothing owing, doesn't rule it out: that is an index, where its balance takes all
-- its rows.
--
-- All three days are required: NULL is an error of SQLSTATE 45000. Rows come
-- ordered by invoice and instalment.
--
-- Tables are listed with commas, each part repeats its conditions, and tables are
-- joined by equalities only: the embedded server knows parameters nowhere but in
-- the WHERE and the SELECT list of such parts, and is quick with nothing but
-- equalities. NULLIF(x, NULL) is x, and tells it that x may be NULL. The file holds
-- exactly one statement.
CREATE PROCEDURE debtors_detailed(IN p_date_as_at DATE, IN p_date_for_due_days DATE, IN p_due_date_upto DATE)
READS SQL DATA
BEGIN
  IF p_date_as_at IS NULL OR p_date_for_due_days IS NULL OR p_due_date_upto IS NULL THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'p_date_as_at, p_date_for_due_days and p_due_date_upto must be dates';
  END IF;
  SELECT
    o.invoice_id, o.instalment_number, o.date_due, o.instalment, o.balance, o.rem_1, o.rem_2, o.rem_3,
    o.rem_bad, o.send_acc_to_third_party, o.patient_firstname, o.patient_surname, o.third_party_name,
    o.send_acc_to_pat_id, o.days_due, o.account_payment_plan_id, o.notes, o.doctors_list,
    o.patient_id_list, CAST(o.balance * o.involvement / 100 AS DECIMAL(14,4)) AS balance_for_doctor,
    o.patient_head_id, IF(o.rem_bad IS NULL, '0', '1') AS bad_debt, o.printed, o.reminder_printed,
    o.location_id
  FROM (
    SELECT
      i.invoice_id, n.instalment_number, n.date_due, n.amount AS instalment,
      CAST(CASE
          WHEN c.upto - m.settled >= n.amount THEN n.amount
          WHEN c.upto > m.settled OR c.upto = i.amount THEN c.upto - m.settled
          ELSE 0
        END AS DECIMAL(14,4)) AS balance,
      IF(n.rem_1 <= p_date_as_at, DATE_FORMAT(n.rem_1, '%Y-%m-%d'), NULL) AS rem_1,
      IF(n.rem_2 <= p_date_as_at, DATE_FORMAT(n.rem_2, '%Y-%m-%d'), NULL) AS rem_2,
      IF(n.rem_3 <= p_date_as_at, DATE_FORMAT(n.rem_3, '%Y-%m-%d'), NULL) AS rem_3,
      IF(n.rem_bad <= p_date_as_at, DATE_FORMAT(n.rem_bad, '%Y-%m-%d'), NULL) AS rem_bad,
      IF(i.third_party_id IS NULL, 0, 1) AS send_acc_to_third_party,
      COALESCE(h.first_name, '') AS patient_firstname, COALESCE(h.surname, '') AS patient_surname,
      NULLIF(y.third_party_name, NULL) AS third_party_name, i.send_acc_to_pat_id,
      DATEDIFF(p_date_for_due_days, n.date_due) AS days_due,
      n.account_payment_plan_id, n.notes, m.doctors_list, m.patient_id_list, m.involvement,
      i.patient_head_id, n.printed, n.reminder_printed, i.location_id
    FROM invoice i
      LEFT JOIN patient h ON h.patient_id = i.patient_head_id
      LEFT JOIN third_party y ON y.third_party_id = i.third_party_id,
    invoice_instalment n,
    (
      SELECT
        n.instalment_id,
        CAST(SUM(
          IF(e.instalment_number <= n.instalment_number, e.amount, CAST(0 AS DECIMAL(12,4)))
        ) AS DECIMAL(14,4)) AS upto
      FROM invoice i, invoice_instalment n, invoice_instalment e
      WHERE n.invoice_id = i.invoice_id AND e.invoice_id = n.invoice_id
        AND i.reversal = 0 AND i.date_effective <= p_date_as_at
        AND (i.date_settled IS NULL OR i.date_settled > p_date_as_at)
      GROUP BY n.instalment_id
    ) c, (
      SELECT
        u.invoice_id, CAST(SUM(u.settled) AS DECIMAL(14,4)) AS settled,
        GROUP_CONCAT(DISTINCT u.practitioner_id ORDER BY u.practitioner_id SEPARATOR ',')
          AS doctors_list,
        GROUP_CONCAT(DISTINCT u.patient_id ORDER BY u.patient_id SEPARATOR ',') AS patient_id_list,
        CAST(SUM(u.involvement) AS DECIMAL(7,4)) AS involvement
      FROM (
        SELECT
          i.invoice_id, CAST(0 AS DECIMAL(12,4)) AS settled, i.practitioner_id, i.patient_id,
          CAST(0 AS DECIMAL(7,4)) AS involvement
        FROM invoice i
        WHERE i.reversal = 0 AND i.date_effective <= p_date_as_at
          AND (i.date_settled IS NULL OR i.date_settled > p_date_as_at)
        UNION ALL
        SELECT
          a.invoice_id, a.amount, CAST(NULL AS SIGNED), CAST(NULL AS SIGNED), CAST(0 AS DECIMAL(7,4))
        FROM payment_allocation a, invoice i
        WHERE i.invoice_id = a.invoice_id AND a.date_effective <= p_date_as_at
          AND i.reversal = 0 AND i.date_effective <= p_date_as_at
          AND (i.date_settled IS NULL OR i.date_settled > p_date_as_at)
        UNION ALL
        SELECT
          d.invoice_id, d.amount, CAST(NULL AS SIGNED), CAST(NULL AS SIGNED), CAST(0 AS DECIMAL(7,4))
        FROM discount d, invoice i
        WHERE i.invoice_id = d.invoice_id AND d.date_effective <= p_date_as_at
          AND i.reversal = 0 AND i.date_effective <= p_date_as_at
          AND (i.date_settled IS NULL OR i.date_settled > p_date_as_at)
        UNION ALL
        SELECT
          i.invoice_id, CAST(-r.amount AS DECIMAL(12,4)), CAST(NULL AS SIGNED), CAST(NULL AS SIGNED),
          CAST(0 AS DECIMAL(7,4))
        FROM invoice r, invoice i
        WHERE i.invoice_id = r.reverses_invoice_id AND r.reverses_invoice_id > 0
          AND r.date_effective <= p_date_as_at
          AND i.reversal = 0 AND i.date_effective <= p_date_as_at
          AND (i.date_settled IS NULL OR i.date_settled > p_date_as_at)
        UNION ALL
        SELECT
          s.invoice_id, CAST(0 AS DECIMAL(12,4)), s.practitioner_id, CAST(NULL AS SIGNED),
          CAST(IF(s.practitioner_id = i.practitioner_id, s.involvement, 0) AS DECIMAL(7,4))
        FROM invoice_practitioner s, invoice i
        WHERE i.invoice_id = s.invoice_id
          AND i.reversal = 0 AND i.date_effective <= p_date_as_at
          AND (i.date_settled IS NULL OR i.date_settled > p_date_as_at)
        UNION ALL
        SELECT
          t.invoice_id, CAST(0 AS DECIMAL(12,4)), CAST(NULL AS SIGNED), t.patient_id,
          CAST(0 AS DECIMAL(7,4))
        FROM treatment t, invoice i
        WHERE i.invoice_id = t.invoice_id AND t.is_deleted = 0
          AND i.reversal = 0 AND i.date_effective <= p_date_as_at
          AND (i.date_settled IS NULL OR i.date_settled > p_date_as_at)
      ) u
      GROUP BY u.invoice_id
    ) m
    WHERE n.invoice_id = i.invoice_id AND c.instalment_id = n.instalment_id
      AND m.invoice_id = i.invoice_id AND n.date_due <= p_due_date_upto
      AND i.reversal = 0 AND i.date_effective <= p_date_as_at
      AND (i.date_settled IS NULL OR i.date_settled > p_date_as_at)
  ) o
  WHERE o.balance <> 0
  ORDER BY o.invoice_id, o.instalment_number;
END
