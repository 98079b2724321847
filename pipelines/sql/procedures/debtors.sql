-- The debtors procedure: one row for who owes something as at a day: per
-- responsible party, third party and location. Its sums are those of
-- debtors_detailed.
--
-- balance_current is not yet overdue; balance_30 is overdue by less than 60 days,
-- balance_60 by less than 90, balance_90 by 90 and more. They add up to balance.
-- bad_debt is 1 when any of it was marked a bad debt by p_date_as_at.
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
-- ordered by responsible party, third party (none first) and location.
--
-- Tables are listed with commas, each part repeats its conditions, and tables are
-- joined by equalities only: the embedded server knows parameters nowhere but in
-- the WHERE and the SELECT list of such parts, and is quick with nothing but
-- equalities. NULLIF(x, NULL) is x, and tells it that x may be NULL. The file holds
-- exactly one statement.
CREATE PROCEDURE debtors(IN p_date_as_at DATE, IN p_date_for_due_days DATE, IN p_due_date_upto DATE)
READS SQL DATA
BEGIN
  IF p_date_as_at IS NULL OR p_date_for_due_days IS NULL OR p_due_date_upto IS NULL THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'p_date_as_at, p_date_for_due_days and p_due_date_upto must be dates';
  END IF;
  SELECT
    o.patient_head_id, MAX(o.first_name) AS patient_firstname, MAX(o.surname) AS patient_surname,
    NULLIF(MAX(o.third_party_name), NULL) AS third_party_name,
    CAST(SUM(o.balance) AS DECIMAL(14,4)) AS balance,
    CAST(SUM(IF(o.days_due <= 0, o.balance, CAST(0 AS DECIMAL(14,4)))) AS DECIMAL(14,4))
      AS balance_current,
    CAST(SUM(IF(o.days_due BETWEEN 1 AND 59, o.balance, CAST(0 AS DECIMAL(14,4)))) AS DECIMAL(14,4))
      AS balance_30,
    CAST(SUM(IF(o.days_due BETWEEN 60 AND 89, o.balance, CAST(0 AS DECIMAL(14,4)))) AS DECIMAL(14,4))
      AS balance_60,
    CAST(SUM(IF(o.days_due >= 90, o.balance, CAST(0 AS DECIMAL(14,4)))) AS DECIMAL(14,4))
      AS balance_90,
    MAX(o.days_due) AS oldest_days_due, MAX(o.bad_debt) AS bad_debt, o.location_id
  FROM (
    SELECT
      i.patient_head_id, i.third_party_id, i.location_id,
      COALESCE(h.first_name, '') AS first_name, COALESCE(h.surname, '') AS surname,
      y.third_party_name,
      CAST(CASE
          WHEN c.upto - m.settled >= n.amount THEN n.amount
          WHEN c.upto > m.settled OR c.upto = i.amount THEN c.upto - m.settled
          ELSE 0
        END AS DECIMAL(14,4)) AS balance,
      DATEDIFF(p_date_for_due_days, n.date_due) AS days_due,
      IF(n.rem_bad <= p_date_as_at, '1', '0') AS bad_debt
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
      SELECT u.invoice_id, CAST(SUM(u.settled) AS DECIMAL(14,4)) AS settled
      FROM (
        SELECT i.invoice_id, CAST(0 AS DECIMAL(12,4)) AS settled
        FROM invoice i
        WHERE i.reversal = 0 AND i.date_effective <= p_date_as_at
          AND (i.date_settled IS NULL OR i.date_settled > p_date_as_at)
        UNION ALL
        SELECT a.invoice_id, a.amount
        FROM payment_allocation a, invoice i
        WHERE i.invoice_id = a.invoice_id AND a.date_effective <= p_date_as_at
          AND i.reversal = 0 AND i.date_effective <= p_date_as_at
          AND (i.date_settled IS NULL OR i.date_settled > p_date_as_at)
        UNION ALL
        SELECT d.invoice_id, d.amount
        FROM discount d, invoice i
        WHERE i.invoice_id = d.invoice_id AND d.date_effective <= p_date_as_at
          AND i.reversal = 0 AND i.date_effective <= p_date_as_at
          AND (i.date_settled IS NULL OR i.date_settled > p_date_as_at)
        UNION ALL
        SELECT i.invoice_id, CAST(-r.amount AS DECIMAL(12,4))
        FROM invoice r, invoice i
        WHERE i.invoice_id = r.reverses_invoice_id AND r.reverses_invoice_id > 0
          AND r.date_effective <= p_date_as_at
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
  GROUP BY o.patient_head_id, o.third_party_id, o.location_id
  ORDER BY o.patient_head_id, o.third_party_id, o.location_id;
END
