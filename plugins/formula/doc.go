package formula

// Doc is the language, for the documentation of stages that take expressions.
const Doc = `Every column is a variable; one whose name is no identifier, or is shared, is ` + "`row[\"its name\"]`, `row[\"id#2\"]`" + `. A
parameter of the pipeline is ` + "`params.NAME`" + `, a value of its declared type and never a part of the expression; one that was not
given is null. The type of an expression is known before a row is read, and a value is exact, or the run fails with the
row and the place in the expression. ` + "`cipherstream expr`" + ` tries one, explains its types, and lists the functions.

* **NULL** equals NULL and nothing else: ` + "`x == null`, `x != null`" + `. So ` + "`status != 'Closed'`" + ` holds where status is
  NULL, unlike in SQL. <, <=, > and >= do not hold with NULL, nor do startsWith, endsWith, contains and matches of NULL,
  nor a boolean that is NULL as a condition. Computing with NULL fails the run; say what becomes of it:
  ` + "`coalesce(x, 0) + 1`, `x == null ? null : x + 1`, `x != null && x + 1 > y`" + `.
* **Numbers** of all types compare by their exact values. A literal such as 10.10 has exactly its digits, and is the nearest
  float next to a float. Integers are computed in 64 bits, / cuts the rest off, and what does not fit fails the run.
  Decimals have +, - and *: a sum has the larger scale and one digit more, a product the digits of both, up to 76, and what
  does not fit then fails the run. A quotient says its digits and its rounding: ` + "`divide(a, b, 2, 'half_up')`" + `, and so does
  ` + "`round(x, 2, 'half_even')`" + `; the rules are half_up, half_even, half_down (to the nearest, and the middle away from 0, to
  the even digit, towards 0), up, down, floor and ceiling. An integer beside a decimal is one. A float goes with floats and literals only;
  ` + "`double(x)`" + ` is the nearest one.
* **Conditions**: &&, ||, !, ==, !=, <, <=, >, >=, ` + "`amount > 0 ? 'due' : 'paid'`" + `, of which only the side that is taken is computed.
  ` + "`x in ['a', 'b', null]`" + ` is a chain of ==, ` + "`['a', 'b'].exists(v, name.startsWith(v))`" + ` one of ||, and all one of &&. Where one side of && or ||
  decides, the other may have no value. Flags that are 0 and 1 are numbers: ` + "`is_deleted == 0`" + `.
* **Dates and timestamps** compare with each other, with text literals ` + "`'2024-02-29'`, `'2024-02-29 12:30:00.5'`" + `, and with
  timestamp('2024-02-29T12:30:00Z'). A date is its midnight: ` + "`start_time <= '2024-12-31'`" + ` leaves out most of that day;
  write ` + "`start_time < '2025-01-01'`" + `. year, month, day, dayOfWeek, hour, minute, second; ` + "`addDays(d, 30)`" + `, addMonths and addYears (a day that
  the month has not becomes its last one), addSeconds; ` + "`daysBetween(from, to)`" + ` counts midnights, secondsBetween is exact, and so is ` + "`to - from`" + `,
  which is a time; ` + "`truncate(d, 'month')`" + ` takes year, quarter, month, day, hour, minute or second. Instants are computed in UTC. Years are 0 to 9999.
* **Times and durations** compare with text literals ` + "`'08:30:00'`" + ` and with duration('90m').
* **Text** compares by its UTF-8 bytes. a + b, concat, lower, upper, trim (spaces at both ends), ` + "`replace(text, part, by)`" + `, ` + "`length(text)`" + ` and
  ` + "`substring(text, from, to)`" + ` in characters of Unicode, counted from 0, to being the first that is left out and what lies beyond the
  text empty; contains, startsWith, endsWith. matches takes a literal regular expression (RE2) that may match anywhere.
  ` + "`{'M': 'male', 'F': 'female'}[sex]`" + ` looks a value up, and a key that is not there fails the run.
* **Casts**: ` + "`string(x)`" + ` as the encoders spell it, ` + "`int(x)`, `decimal(x, 10, 2)`, `date(x)`, `timestamp(x)`, `timestamp(text, 6)`" + `;
  exact, or they fail the run. date of a timestamp leaves its time out. Also abs(x) and coalesce(x, y, …).

A function is called as f(x, y) or as x.f(y).`

// Function is a function of the language, for people.
type Function struct {
	// Group is what it is about, Usage how it is called, and Doc what it gives.
	Group string `json:"group"`
	Name  string `json:"name"`
	Usage string `json:"usage"`
	Doc   string `json:"doc"`
}

// Functions are all functions, those of one group together.
func Functions() []Function {
	all := known()
	list := make([]Function, len(docs))
	for i, d := range docs {
		d.Usage = all[d.Name].usage
		list[i] = d
	}
	return list
}

// docs are the functions in the order in which they are listed; how one is called says the function itself.
var docs = []Function{
	{Group: "Numbers", Name: "divide", Doc: "x / y with so many digits behind the point, rounded by the rule"},
	{Group: "Numbers", Name: "round", Doc: "x with so many digits behind the point, rounded by the rule"},
	{Group: "Numbers", Name: "abs", Doc: "x without its sign"},

	{Group: "NULL", Name: "coalesce", Doc: "the first that is not NULL"},

	{Group: "Text", Name: "concat", Doc: "the texts, joined"},
	{Group: "Text", Name: "contains", Doc: "whether part stands in text; not where either is NULL"},
	{Group: "Text", Name: "startsWith", Doc: "whether text begins with part; not where either is NULL"},
	{Group: "Text", Name: "endsWith", Doc: "whether text ends with part; not where either is NULL"},
	{Group: "Text", Name: "matches", Doc: "whether a regular expression (RE2) matches anywhere in text; not where text is NULL"},
	{Group: "Text", Name: "length", Doc: "how many characters of Unicode text has"},
	{Group: "Text", Name: "size", Doc: "the same as length"},
	{Group: "Text", Name: "lower", Doc: "text in lower case"},
	{Group: "Text", Name: "upper", Doc: "text in upper case"},
	{Group: "Text", Name: "replace", Doc: "text with by in place of every part"},
	{Group: "Text", Name: "substring", Doc: "the characters from from on, counted from 0, and before to"},
	{Group: "Text", Name: "trim", Doc: "text without white space at both ends"},

	{Group: "Dates", Name: "year", Doc: "the year of a date or a timestamp"},
	{Group: "Dates", Name: "month", Doc: "the month, 1 to 12"},
	{Group: "Dates", Name: "day", Doc: "the day of the month, 1 to 31"},
	{Group: "Dates", Name: "hour", Doc: "the hour of a timestamp"},
	{Group: "Dates", Name: "minute", Doc: "the minute of a timestamp"},
	{Group: "Dates", Name: "second", Doc: "the second of a timestamp"},
	{Group: "Dates", Name: "dayOfWeek", Doc: "the day of the week, 0 to 6, Sunday being 0"},
	{Group: "Dates", Name: "dayOfYear", Doc: "the day of the year, 1 to 366"},
	{Group: "Dates", Name: "addDays", Doc: "n days later"},
	{Group: "Dates", Name: "addMonths", Doc: "n months later; a day that the month has not becomes its last one"},
	{Group: "Dates", Name: "addYears", Doc: "n years later; 29 February becomes the 28th where there is none"},
	{Group: "Dates", Name: "addSeconds", Doc: "n seconds later"},
	{Group: "Dates", Name: "daysBetween", Doc: "how many midnights lie between"},
	{Group: "Dates", Name: "secondsBetween", Doc: "the seconds between, with the digits of the timestamps"},
	{Group: "Dates", Name: "truncate", Doc: "the beginning of the year, quarter, month, day, hour, minute or second"},

	{Group: "Dates", Name: "duration", Doc: "a duration, to compare with times and to add: h, m, s, ms, us, ns"},

	{Group: "Casts, exact or they fail the run", Name: "string", Doc: "the text that the encoders write"},
	{Group: "Casts, exact or they fail the run", Name: "int", Doc: "the whole number of a text, a number or a boolean"},
	{Group: "Casts, exact or they fail the run", Name: "decimal", Doc: "the decimal of a text or a number"},
	{Group: "Casts, exact or they fail the run", Name: "date", Doc: "the date of a text as YYYY-MM-DD, or of a timestamp without its time"},
	{Group: "Casts, exact or they fail the run", Name: "timestamp", Doc: "the timestamp of a text, with so many fractional digits, or a date's midnight"},
	{Group: "Casts that round", Name: "double", Doc: "the float nearest to a number or a text"},

	{Group: "As CEL calls them", Name: "getFullYear", Doc: "year(d)"},
	{Group: "As CEL calls them", Name: "getMonth", Doc: "month(d) - 1"},
	{Group: "As CEL calls them", Name: "getDate", Doc: "day(d)"},
	{Group: "As CEL calls them", Name: "getDayOfMonth", Doc: "day(d) - 1"},
	{Group: "As CEL calls them", Name: "getDayOfWeek", Doc: "dayOfWeek(d)"},
	{Group: "As CEL calls them", Name: "getDayOfYear", Doc: "dayOfYear(d) - 1"},
	{Group: "As CEL calls them", Name: "getHours", Doc: "hour(d)"},
	{Group: "As CEL calls them", Name: "getMinutes", Doc: "minute(d)"},
	{Group: "As CEL calls them", Name: "getSeconds", Doc: "second(d)"},
	{Group: "As CEL calls them", Name: "getMilliseconds", Doc: "the milliseconds of a timestamp"},
}
