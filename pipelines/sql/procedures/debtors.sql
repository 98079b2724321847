-- The debtors procedure: one row for who owes something as at a day: per
-- responsible party, third party and location. Its sums are those of
-- debtors_detailed. Where they come to 0, nobody owes anything.
--
-- balance_current is not yet overdue, or has no due day; balance_30 is overdue by 1
-- to 59 days, balance_60 by 60 to 89, balance_90 by 90 and more. They add up to
-- balance. bad_debt is 1 when any of it was marked a bad debt by p_date_as_at.
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
-- ordered by responsible party, third party (none first) and location.
--
-- The embedded server knows parameters in WITH, WHERE and the SELECT list, not below
-- a JOIN, and takes decimals for floating point in GREATEST and LEAST. NULLIF(x,
-- NULL) is x, and tells it that x may be NULL. The file holds exactly one statement.
CREATE PROCEDURE debtors(IN p_date_as_at DATE, IN p_date_for_due_days DATE, IN p_due_date_upto DATE)
READS SQL DATA
BEGIN
  IF p_date_as_at IS NULL OR p_date_for_due_days IS NULL OR p_due_date_upto IS NULL THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'p_date_as_at, p_date_for_due_days and p_due_date_upto must be dates';
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
  )
  SELECT
    b.patient_head_id, MAX(b.first_name) AS patient_firstname, MAX(b.surname) AS patient_surname,
    NULLIF(MAX(b.third_party_name), NULL) AS third_party_name,
    CAST(SUM(b.balance) AS DECIMAL(34,4)) AS balance,
    CAST(SUM(IF(b.days_due IS NULL OR b.days_due <= 0, b.balance, CAST(0 AS DECIMAL(34,4))))
      AS DECIMAL(34,4)) AS balance_current,
    CAST(SUM(IF(b.days_due BETWEEN 1 AND 59, b.balance, CAST(0 AS DECIMAL(34,4)))) AS DECIMAL(34,4))
      AS balance_30,
    CAST(SUM(IF(b.days_due BETWEEN 60 AND 89, b.balance, CAST(0 AS DECIMAL(34,4)))) AS DECIMAL(34,4))
      AS balance_60,
    CAST(SUM(IF(b.days_due >= 90, b.balance, CAST(0 AS DECIMAL(34,4)))) AS DECIMAL(34,4)) AS balance_90,
    NULLIF(MAX(b.days_due), NULL) AS oldest_days_due, MAX(b.bad_debt) AS bad_debt, b.location_id
  FROM (
    SELECT
      x.patient_head_id, x.third_party_id, x.location_id, x.first_name, x.surname, x.third_party_name,
      CAST(
        IF(x.place = 1, x.owed, IF(x.upto > x.settled, x.upto - x.settled, 0))
        - IF(x.before_it > x.settled, x.before_it - x.settled, 0) AS DECIMAL(34,4)
      ) AS balance,
      DATEDIFF(p_date_for_due_days, x.date_due) AS days_due,
      IF(x.rem_bad <= p_date_as_at, '1', '0') AS bad_debt
    FROM (
      SELECT
        z.patient_head_id, z.third_party_id, z.location_id, z.first_name, z.surname,
        z.third_party_name, z.date_due, z.rem_bad, z.owed, z.place,
        IF(z.total > z.owed, z.total - z.owed, 0) AS settled,
        IF(z.upto > z.total, z.total, z.upto) AS upto,
        IF(z.upto - z.amount > z.total, z.total, z.upto - z.amount) AS before_it
      FROM (
        SELECT
          NULLIF(i.patient_head_id, NULL) AS patient_head_id, i.third_party_id,
          NULLIF(i.location_id, NULL) AS location_id, COALESCE(h.first_name, '') AS first_name,
          COALESCE(h.surname, '') AS surname, y.third_party_name,
          NULLIF(COALESCE(n.date_due, i.date_due), NULL) AS date_due, n.rem_bad, k.owed, n.amount,
          COALESCE(i.amount, 0) AS total,
          CAST(SUM(n.amount) OVER (
            PARTITION BY k.invoice_id ORDER BY n.instalment_number, n.instalment_id
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
          ) AS DECIMAL(34,4)) AS upto,
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
  ) b
  WHERE b.balance <> 0
  GROUP BY b.patient_head_id, b.third_party_id, b.location_id
  HAVING SUM(b.balance) <> 0
  ORDER BY b.patient_head_id, b.third_party_id, b.location_id;
END
