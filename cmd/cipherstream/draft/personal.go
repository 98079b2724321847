package draft

import (
	"slices"
	"strings"
	"unicode"
)

// Personal is why a column looks like personal data.
type Personal struct {
	// What it seems to hold, such as "an e-mail address".
	What string
	// Word is what in its name says so.
	Word string

	kind kind
}

// kind is what a column seems to hold; it decides how it is masked, and which invented values it has.
type kind struct {
	what string
	// words are whole words of a name that say so, in English and in German, in lower case. Several with a space
	// between follow one another.
	words []string
	// types are the column types that such a thing has; nil is text.
	types []string
	// keepLast says that the last characters are of use without the rest, and born that the year is.
	keepLast, born bool
	// not are words beside which it is something else: the name of a file is nobody's.
	not []string
	// sample is an invented value, where one as text of its type does not do.
	sample string
}

var (
	text        = []string{"string", "json"}
	numbers     = []string{"string", "int32", "int64", "uint32", "uint64", "decimal"} // of fewer digits are flags and codes
	days        = []string{"date", "timestamp", "string"}
	amounts     = []string{"decimal", "float64", "float32", "int32", "int64", "uint32", "uint64", "string"}
	pictures    = []string{"binary"}
	notOfPerson = []string{"file", "host", "table", "column", "database", "domain", "product", "item", "brand",
		"company", "process", "type", "status", "id",
		"datei", "produkt", "artikel", "firma", "firmen", "typ", "art", "count", "anzahl", "template", "vorlage",
		"enabled", "verified", "sent", "opt"}
)

// kinds are what is looked for, the surest first. It is a suggestion: names in common use, and no guess at the
// contents, so that few columns are marked that are not personal, and a column that is called field7 never.
var kinds = []kind{
	{what: "an e-mail address", words: []string{"email", "e mail", "mail", "mailadresse", "emailadresse",
		"email address", "mail address"}, types: text,
		not: notOfPerson, sample: "someone@example.com"},
	{what: "a bank account", words: []string{"iban", "bic", "account number", "kontonummer", "kontonr",
		"bank account", "bankverbindung", "sort code", "blz", "bankleitzahl"},
		types: numbers, keepLast: true, sample: "DE00123456780000000000"},
	{what: "a payment card", words: []string{"card number", "credit card", "creditcard", "kreditkarte",
		"kartennummer", "cvv", "cvc", "pan"}, types: numbers, keepLast: true,
		sample: "4000000000000002"},
	{what: "an identity number", words: []string{"ssn", "social security", "national id", "passport",
		"passport number", "reisepass", "ausweis", "ausweisnummer", "personalausweis",
		"driver license", "drivers license", "driving licence", "fuehrerschein", "tax id", "tin", "steuernummer",
		"steuer id", "steueridentifikationsnummer", "sozialversicherungsnummer",
		"sv nummer", "rentenversicherungsnummer", "versichertennummer", "medicare", "medicare number", "nhs number",
		"insurance number", "kvnr"},
		types: numbers, keepLast: true, sample: "00-0000-00"},
	{what: "a place of birth", words: []string{"birthplace", "place of birth", "geburtsort", "geburtsland"},
		types: text, sample: "Example City"},
	{what: "a date of birth", words: []string{"birth", "birthdate", "birthday", "dob", "date of birth",
		"geburtsdatum", "geburtstag", "geb datum", "gebdat", "geboren"}, types: days, born: true},
	{what: "a telephone number", words: []string{"phone", "telephone", "tel", "mobile", "cell", "cellphone", "fax",
		"phone number", "mobile number", "home phone", "work phone",
		"telefon", "telefonnummer", "telefonnr", "mobil", "mobilnummer", "handy", "handynummer", "faxnummer",
		"rufnummer"}, types: numbers, not: notOfPerson, sample: "+1 555 0100"},
	{what: "a name of a person", words: []string{"first name", "firstname", "fname", "last name", "lastname", "lname",
		"surname", "given name", "family name", "middle name", "maiden name",
		"full name", "fullname", "preferred name", "nickname", "forename", "vorname", "nachname", "familienname",
		"geburtsname", "zuname", "rufname", "customer name", "patient name",
		"person name", "employee name", "contact name", "user name", "kundenname", "patientenname", "mitarbeitername",
		"ansprechpartner", "contact person"}, types: text, sample: "Alex Example"},
	{what: "a login", words: []string{"username", "login", "login name", "benutzername", "benutzerkennung",
		"anmeldename"}, types: text, not: notOfPerson, sample: "user1"},
	{what: "a secret", words: []string{"password", "passwd", "pwd", "password hash", "passwort", "kennwort", "secret",
		"api key", "token", "access token", "pin"}, types: append(text, "binary"),
		sample: "not-a-secret"},
	{what: "an address", words: []string{"address", "address1", "address2", "address3", "street", "street address",
		"strasse", "str", "hausnummer", "hausnr", "house number", "adresse", "anschrift", "wohnort",
		"postanschrift", "postcode", "postal code", "zip", "zip code", "zipcode", "plz", "postleitzahl", "suburb",
		"home address"}, types: numbers, not: append([]string{"ip", "mac"}, notOfPerson...),
		sample: "1 Example Street"},
	{what: "an address on a network", words: []string{"ip", "ip address", "ipaddress", "ip adresse", "client ip",
		"remote addr", "mac address", "device id", "imei"}, types: append(numbers, "binary"),
		not: []string{"type", "count"}, sample: "192.0.2.1"},
	{what: "a place on the map", words: []string{"latitude", "longitude", "lat", "lng", "lon", "geolocation",
		"breitengrad", "laengengrad"}, types: append(amounts, "binary")},
	{what: "a person's gender, family or origin", words: []string{"gender", "sex", "geschlecht", "marital status",
		"familienstand", "religion", "konfession", "ethnicity", "nationality",
		"staatsangehoerigkeit", "nationalitaet"}, types: append(text, "int8", "uint8"), sample: "unknown"},
	{what: "a state of health", words: []string{"diagnosis", "diagnose", "anamnese", "allergy", "allergies",
		"allergie", "allergien", "medication", "medikation", "blood type", "blutgruppe", "disability",
		"behinderung", "befund", "medical history", "symptoms", "symptome"}, types: text, sample: "nothing"},
	{what: "an income", words: []string{"salary", "wage", "income", "gehalt", "lohn", "einkommen"}, types: amounts},
	{what: "a picture or a mark of a person", words: []string{"photo", "portrait", "avatar", "picture", "signature",
		"fingerprint", "foto", "lichtbild", "unterschrift", "fingerabdruck"},
		types: append(pictures, "string"), not: notOfPerson, sample: "picture"},
}

// umlauts are how German letters are written without them.
var umlauts = strings.NewReplacer("ä", "ae", "ö", "oe", "ü", "ue", "ß", "ss")

// wordsOf takes a name apart: at anything that is no letter and no digit, and where a capital follows a small letter.
func wordsOf(name string) []string {
	var b strings.Builder
	small := false
	for _, r := range name {
		if small && unicode.IsUpper(r) {
			b.WriteByte(' ')
		}
		small = unicode.IsLower(r) || unicode.IsDigit(r)
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			b.WriteRune(unicode.ToLower(r))
		} else {
			b.WriteByte(' ')
		}
	}
	return strings.Fields(umlauts.Replace(b.String()))
}

// Look says why a column looks like personal data, by its name and its type in the words of a pipeline's columns; nil
// where it does not.
func Look(name, columnType string) *Personal {
	base, _, _ := strings.Cut(columnType, "(")
	words := wordsOf(name)
	joined := " " + strings.Join(words, " ") + " "
	for _, k := range kinds {
		if !slices.Contains(k.types, base) || slices.ContainsFunc(k.not,
			func(word string) bool { return slices.Contains(words, word) }) {
			continue
		}
		for _, word := range k.words {
			if strings.Contains(joined, " "+word+" ") {
				return &Personal{What: k.what, Word: word, kind: k}
			}
		}
	}
	return nil
}
