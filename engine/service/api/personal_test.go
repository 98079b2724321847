package api

import (
	"regexp"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine/document"
)

// personalNames are names of columns that identify or describe a person, whatever the procedure; and free text, in which a person
// may be.
var personalNames = regexp.MustCompile(`(^|_)(patient|practitioner|user)_(id|head_id|id_list|firstname|surname|card|code|status)$|(^|_)(surname|firstname|username|gender|birthdate|occupation|notes)$|` +
	`^(first|middle|preferred)_name$|^title$|^(work_)?(phone|address[12]|suburb|state|postcode)$|^(mobile|email|tooth_number|ada_item|provider_number)$|^(created|updated|cancelled)_by$|^balance|^cheque_`)

// ofPlaces are procedures about places and organisations, and about what is in no relation to a person: their addresses and codes
// are nobody's.
var ofPlaces = []string{"health_funds", "locations", "third_parties", "items"}

// TestPersonalColumns: every column of the catalogue that identifies or describes a person says so in its pipeline, the description
// and the document of OpenAPI say what the pipelines do, and what is of places says nothing of the kind.
func TestPersonalColumns(t *testing.T) {
	t.Parallel()
	s := newServerOf(t, realCatalogue(), nil)
	marked := 0
	for _, name := range s.api.names {
		p := s.api.procedures[name]
		place := strings.Contains(" "+strings.Join(ofPlaces, " ")+" ", " "+name+" ")
		row := p.rowSchema()
		described := s.api.describeProcedure(p)
		for i, c := range p.doc.Columns {
			if want := personalNames.MatchString(c.Name) && !place; want && !c.Personal {
				t.Errorf("%s.%s is about a person, and its pipeline does not say personal: true", name, c.Name)
			}
			if place && c.Personal {
				t.Errorf("%s.%s is nobody's, and its pipeline says personal: true", name, c.Name)
			}
			if described.Columns[i].PersonalData != c.Personal || (row.Properties[c.Name].Extensions["x-personal-data"] == true) != c.Personal {
				t.Errorf("%s.%s: the description or the document says something else than its pipeline", name, c.Name)
			}
			if c.Personal {
				marked++
			}
		}
		if described.PersonalData != hasPersonal(p.doc.Columns) {
			t.Errorf("%s: personal_data is %v", name, described.PersonalData)
		}
	}
	if marked < 130 {
		t.Errorf("only %d columns are marked", marked)
	}
}

func hasPersonal(columns []document.Column) bool {
	for _, c := range columns {
		if c.Personal {
			return true
		}
	}
	return false
}
