package formula

// Doc is the language, for the documentation of stages that take expressions.
const Doc = `An expression is written as a condition of the filter where is: every column is a variable, one whose name is no identifier
is ` + "`row[\"its name\"]`" + `, and a parameter of the pipeline is ` + "`params.NAME`" + `. Its type is known before a row is read. A value is exact, or the run fails with the row and the place in the expression.

* **Arithmetic.** Integers are computed in 64 bits, / cuts the rest off, and what does not fit fails the run. Decimals have
  +, - and *: a sum has the larger scale and one digit more, a product the digits of both, up to 76, and what does not fit
  then fails the run. A quotient says its digits and its rounding: ` + "`divide(a, b, 2, 'half_up')`" + `, and so does
  ` + "`round(x, 2, 'half_even')`" + `; the rules are half_up, half_even, half_down (to the nearest, and the middle away from 0, to the
  even digit, towards 0), up, down, floor and ceiling. An integer beside a decimal is one. A float goes with floats and literals only.
* **NULL** equals NULL and nothing else, <, <=, > and >= do not hold with it, and a boolean that is NULL does not hold as a condition.
  Computing with NULL fails the run; say what becomes of it: ` + "`coalesce(x, 0) + 1`, `x == null ? null : x + 1`" + `.
* **Conditions**: ` + "`amount > 0 ? 'due' : 'paid'`" + `, &&, ||, !, ==, !=, <, <=, >, >=, ` + "`x in ['a', 'b']`" + `. Only the side of ? : that is taken is computed.
* **Dates**: year, month, day, hour, minute, second (of a timestamp); ` + "`addDays(d, 30)`" + `, addMonths and addYears (a day that the month
  has not becomes its last one), addSeconds; ` + "`daysBetween(from, to)`" + ` counts midnights, secondsBetween is exact;
  ` + "`truncate(d, 'month')`" + ` takes year, quarter, month, day, hour, minute or second. Instants are computed in UTC. Years are 0 to 9999.
* **Text**: a + b, concat, lower, upper, trim (spaces at both ends), ` + "`replace(text, part, by)`" + `, ` + "`length(text)`" + ` and ` + "`substring(text, from, to)`" + ` in characters of
  Unicode, counted from 0, to being the first that is left out and what lies beyond the text empty; contains, startsWith, endsWith.
* **Casts**: ` + "`string(x)`" + ` as the encoders spell it, ` + "`int(x)`, `decimal(x, 10, 2)`, `date(x)`, `timestamp(x)`, `timestamp(text, 6)`" + `;
  exact, or they fail the run. date of a timestamp leaves its time out. Also abs(x) and coalesce(x, y, …).

A function is called as f(x, y) or as x.f(y).`
