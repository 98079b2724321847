package sandbox

import "strings"

// note draws what people type into a field for notes: mostly a line, sometimes
// several, sometimes as much as fits.
func note(r *random) string {
	if r.percent(2) {
		return longestNote
	}
	return pick(r, notes)
}

var notes = []string{
	"Prefers mornings", "Called, no answer", "Left a message", "Running late, will call back", "Wants Dr Chen only",
	"Prefers SMS", "Latex allergy!", "Ask about the mouthguard", "Child has school until 3:30pm", "Will pay next visit",
	"Patient said: \"not before Friday\"", "Mum's number, not the patient's", "Tue, Thu or Fri; not Wed",
	"Called twice:\n- 9:10 no answer\n- 14:30 spoke to wife", "Address changed\r\nsee letter", "Moved interstate\tkeep on file",
	"C:\\Scans\\2024\\opg.tif", "=SUM(A1:A9)", "+61 call from overseas", "-50% agreed with PM", "@reception please check",
	"Peut-être en août, à confirmer", "Größe prüfen", "Перезвонить после обеда", "要確認：午後のみ", "请用中文联系", "오후만 가능",
	"اتصل مساءً", "Très anxieuse 😬🦷", "👨‍👩‍👧 whole family together", "  leading and trailing spaces  ", "100% health fund? 50/50",
	"<b>VIP</b> & friends; DROP TABLE patient; --", "{\"source\": \"web form\", \"ok\": true}", "NULL", "\\N",
}

// longestNote fills a column of 1,000 characters to the last one.
var longestNote = func() string {
	const sentence = "Long history: see the letters of the specialist, «Dr. Ö. Çelik», 王医生 and others. "
	n := 0
	var b strings.Builder
	for n < 1000 {
		for _, c := range sentence {
			if n == 1000 {
				break
			}
			b.WriteRune(c)
			n++
		}
	}
	return b.String()
}()
