package sandbox

// Who pays, and who sends patients.

func healthFundTable() Table {
	names := [healthFunds][2]string{
		{"Medibank Private", "MBP"}, {"Bupa", "BUP"}, {"HCF", "HCF"}, {"nib", "NIB"}, {"HBF", "HBF"}, {"ahm Health Insurance", "AHM"},
		{"Australian Unity", "AUF"}, {"Teachers Health", "NTF"}, {"Defence Health", "AHB"}, {"GMHBA", "GMH"}, {"Latrobe Health Services", "LHS"},
		{"Westfund", "WFD"}, {"Peoplecare", "LHM"}, {"Health Partners", "SPS"}, {"Police Health", "SPE"}, {"Navy Health", "NHB"},
		{"Doctors' Health Fund", "AMA"}, {"CBHS", "CBH"}, {"HIF", "HIF"}, {"Phoenix Health Fund", "PWA"}, {"St Lukes Health", "SLM"},
		{"Queensland Country Health Fund", "MIM"}, {"Transport Health", "TFS"}, {"RT Health", "RTE"}, {"see-u by HBF", ""},
		{"Frank", ""}, {"Onemedifund", "OMF"}, {"ACA Health", "ACA"}, {"Mildura Health Fund", "MDH"}, {"Reserve Bank Health Society", "RBH"},
	}
	return listed("health_fund", "health_fund_id health_fund_name health_fund_code is_active is_deleted", healthFunds,
		func(i int64, set func(Value)) {
			set(text(names[i][0]))
			set(optional(names[i][1]))
			state(set, i != 22 && i != 24, i == 25)
		})
}

// thirdParties pay for others; the last one is deleted.
var thirdParties = []struct{ name, address, suburb, phone, email string }{
	{"Department of Veterans' Affairs", "Locked Bag 10", "Darwin City", "(02) 5550 0201", ""},
	{"Child Dental Benefits Schedule", "", "", "", ""},
	{"Public dental voucher scheme, NSW", "1 Reserve Road", "Chatswood", "(02) 5550 0203", "vouchers@example.org"},
	{"icare workers' insurance", "321 Kent Road", "Parramatta", "(02) 5550 0204", "claims@example.org"},
	{"WorkCover Queensland", "280 Adelaide Street", "Fortitude Valley", "(07) 5550 0205", "claims.qld@example.org"},
	{"Transport Accident Commission", "60 Brougham Street", "Geelong", "(03) 5550 0206", ""},
	{"Comcare", "", "Braddon", "(02) 5550 0207", "accounts@example.net"},
	{"NDIS plan manager \"Blue Gum\"", "8 Wattle Grove", "Footscray", "(03) 5550 0208", "bluegum@example.net"},
	{"O'Brien & Sons Mining, Pty Ltd", "PO Box 12", "Kalgoorlie", "(08) 5550 0209", "payroll@example.com"},
	{"Школа Святого Николая", "3 Station Road", "Box Hill", "", "school@example.com"},
	{"Aboriginal Medical Service", "36 Turner Street", "Newtown", "(02) 5550 0211", ""},
	{"Cruise crew insurance\n(claims desk)", "Dock 4", "Southport", "", "crew@example.com"},
	{"Old insurer, merged", "", "", "", ""},
}

func thirdPartyTable() Table {
	return listed("third_party", `third_party_id third_party_name address1 suburb state postcode phone email is_active
		is_deleted`, len(thirdParties), func(i int64, set func(Value)) {
		t := thirdParties[i]
		var where suburb
		for _, s := range suburbs {
			if s.name == t.suburb {
				where = s
			}
		}
		set(text(t.name))
		for _, s := range []string{t.address, where.name, where.state, where.postcode, t.phone, t.email} {
			set(optional(s))
		}
		state(set, i != 5, int(i) == len(thirdParties)-1)
	})
}

func referralSourceTable() Table {
	names := [referralSources][2]string{
		{"Family or friend", "Patient"}, {"Google", "Internet"}, {"Facebook / Instagram", "Internet"}, {"Walked by", ""},
		{"General practitioner", "Professional"}, {"Specialist", "Professional"}, {"Health fund's list", "Insurer"}, {"School visit", "Marketing"},
		{"Flyer: \"No gap!\"", "Marketing"}, {"Radio, 2GB", "Marketing"}, {"Staff member", "Staff"}, {"Yellow Pages", ""},
	}
	return listed("referral_source", "referral_source_id referral_source referral_type is_active is_deleted", referralSources,
		func(i int64, set func(Value)) {
			set(text(names[i][0]))
			set(optional(names[i][1]))
			state(set, i != 9, i == 11)
		})
}
