package sandbox

// item is what can be charged. The codes are those of the Australian Schedule of
// Dental Services and Glossary (ADA item numbers), described in short; letters are
// the practice's own.
type item struct {
	code        string
	description string
	category    int64
	dollars     money // the standard fee of the first period
	most        int64 // of it in one line
	site        site
	flags       itemFlags
}

// site says where in the mouth an item is done.
type site uint8

const (
	noSite    site = iota
	toothOnly      // 36
	front          // a front tooth and its surfaces: 12 (MI)
	back           // a back tooth and its surfaces: 46 (MOD)
)

type itemFlags uint8

const (
	goods     itemFlags = 1 << iota // not clinical: goods, fees
	taxed                           // with GST: goods and cosmetic work
	unlisted                        // kept out of reports
	unpriced                        // without a default fee
	retired                         // no longer in use
	withdrawn                       // deleted
)

func (i *item) is(f itemFlags) bool { return i.flags&f != 0 }

// own tells the practice's own items, which have no number of the standard.
func (i *item) own() bool { return i.code[0] > '9' }

// quantity draws how many make a line: mostly one.
func (i *item) quantity(r *random) int64 {
	if i.most == 1 || r.percent(60) {
		return 1
	}
	return 1 + r.below(i.most)
}

// tooth draws a tooth in the notation of the FDI, with surfaces for fillings.
func (i *item) tooth(r *random) string {
	switch i.site {
	case toothOnly:
		return pick(r, quadrants) + string('1'+rune(r.below(8)))
	case front:
		return pick(r, quadrants) + string('1'+rune(r.below(3))) + pick(r, frontSurfaces)
	case back:
		return pick(r, quadrants) + string('4'+rune(r.below(5))) + pick(r, backSurfaces)
	}
	return ""
}

var (
	quadrants     = []string{"1", "2", "3", "4"}
	frontSurfaces = []string{" (M)", " (D)", " (MI)", " (DL)", " (MIDL)"}
	backSurfaces  = []string{" (O)", " (MO)", " (DO)", " (MOD)", " (B)", " (MODBL)"}
)

// The categories, in the order of itemCategories.
const (
	diagnostic int64 = iota + 1
	examinations
	radiology
	preventive
	periodontics
	surgery
	endodontics
	restorative
	crowns
	prosthodontics
	orthodontics
	general
	ownGoods
)

var items = []item{
	{"011", "Comprehensive oral examination", examinations, 62, 1, noSite, 0},
	{"012", "Periodic oral examination", examinations, 54, 1, noSite, 0},
	{"013", "Oral examination, limited", examinations, 45, 1, noSite, 0},
	{"014", "Consultation", examinations, 68, 1, noSite, 0},
	{"015", "Consultation, extended (30 minutes or more)", examinations, 105, 1, noSite, 0},
	{"016", "Consultation by referral", examinations, 120, 1, noSite, 0},
	{"018", "Written report, not elsewhere included", diagnostic, 60, 1, noSite, unlisted},
	{"019", "Letter of referral", diagnostic, 22, 1, noSite, unlisted},
	{"022", "Intraoral periapical or bitewing radiograph, per exposure", radiology, 38, 4, noSite, 0},
	{"025", "Intraoral radiograph, occlusal, per exposure", radiology, 55, 2, noSite, 0},
	{"037", "Panoramic radiograph, per exposure", radiology, 92, 1, noSite, 0},
	{"061", "Pulp testing, per appointment", diagnostic, 35, 1, noSite, 0},
	{"071", "Diagnostic model, per model", diagnostic, 60, 2, noSite, 0},
	{"072", "Photographic records, intraoral, per appointment", diagnostic, 48, 1, noSite, 0},
	{"073", "Photographic records, extraoral, per appointment", diagnostic, 48, 1, noSite, 0},
	{"088", "Cone beam volumetric tomography", radiology, 210, 1, noSite, 0},
	{"111", "Removal of plaque and/or stain", preventive, 66, 1, noSite, 0},
	{"113", "Recontouring and polishing of pre-existing restorations", preventive, 32, 2, toothOnly, 0},
	{"114", "Removal of calculus, first visit", preventive, 112, 1, noSite, 0},
	{"115", "Removal of calculus, subsequent visit", preventive, 78, 1, noSite, 0},
	{"117", "Bleaching, internal, per tooth", preventive, 205, 1, toothOnly, taxed},
	{"118", "Bleaching, external, per tooth", preventive, 190, 2, toothOnly, taxed},
	{"119", "Bleaching, home application, per arch", preventive, 260, 2, noSite, taxed},
	{"121", "Topical application of remineralising agent, one treatment", preventive, 36, 1, noSite, 0},
	{"123", "Concentrated remineralising agent, single tooth", preventive, 28, 3, toothOnly, 0},
	{"131", "Dietary analysis and advice", preventive, 48, 1, noSite, 0},
	{"141", "Oral hygiene instruction", preventive, 52, 1, noSite, 0},
	{"151", "Provision of a mouthguard, indirect", preventive, 172, 1, noSite, 0},
	{"161", "Fissure and/or tooth surface sealing, per tooth", preventive, 54, 4, toothOnly, 0},
	{"165", "Desensitising procedure, per appointment", preventive, 31, 1, noSite, 0},
	{"213", "Treatment of acute periodontal infection, per appointment", periodontics, 92, 1, noSite, 0},
	{"221", "Clinical periodontal analysis and recording", periodontics, 64, 1, noSite, 0},
	{"222", "Periodontal debridement, per tooth", periodontics, 32, 8, toothOnly, 0},
	{"231", "Gingivectomy, per tooth or implant", periodontics, 118, 2, toothOnly, 0},
	{"250", "Active non-surgical periodontal therapy, per quadrant", periodontics, 148, 2, noSite, 0},
	{"311", "Removal of a tooth or part(s) thereof", surgery, 172, 1, toothOnly, 0},
	{"314", "Sectional removal of a tooth", surgery, 222, 1, toothOnly, 0},
	{"322", "Surgical removal of a tooth, no bone removed or tooth divided", surgery, 278, 1, toothOnly, 0},
	{"323", "Surgical removal of a tooth, with removal of bone", surgery, 318, 1, toothOnly, 0},
	{"324", "Surgical removal of a tooth, with removal of bone and tooth division", surgery, 428, 1, toothOnly, 0},
	{"391", "Frenectomy", surgery, 232, 1, noSite, 0},
	{"392", "Drainage of abscess", surgery, 112, 1, noSite, 0},
	{"411", "Direct pulp capping", endodontics, 45, 1, toothOnly, 0},
	{"414", "Pulpotomy", endodontics, 92, 1, toothOnly, 0},
	{"415", "Complete chemo-mechanical preparation of root canal, one canal", endodontics, 262, 1, toothOnly, 0},
	{"416", "Complete chemo-mechanical preparation, each additional canal", endodontics, 128, 3, toothOnly, 0},
	{"417", "Root canal obturation, one canal", endodontics, 256, 1, toothOnly, 0},
	{"418", "Root canal obturation, each additional canal", endodontics, 118, 3, toothOnly, 0},
	{"419", "Extirpation of pulp or debridement of root canal(s), emergency or palliative", endodontics, 172, 1, toothOnly, 0},
	{"455", "Additional visit for irrigation and/or dressing of the root canal system", endodontics, 124, 1, toothOnly, 0},
	{"511", "Metallic restoration, one surface, direct", restorative, 126, 1, back, 0},
	{"512", "Metallic restoration, two surfaces, direct", restorative, 152, 1, back, retired},
	{"521", "Adhesive restoration, one surface, anterior tooth, direct", restorative, 138, 1, front, 0},
	{"522", "Adhesive restoration, two surfaces, anterior tooth, direct", restorative, 168, 1, front, 0},
	{"523", "Adhesive restoration, three surfaces, anterior tooth, direct", restorative, 198, 1, front, 0},
	{"524", "Adhesive restoration, four surfaces, anterior tooth, direct", restorative, 228, 1, front, 0},
	{"525", "Adhesive restoration, five surfaces, anterior tooth, direct", restorative, 262, 1, front, 0},
	{"531", "Adhesive restoration, one surface, posterior tooth, direct", restorative, 148, 1, back, 0},
	{"532", "Adhesive restoration, two surfaces, posterior tooth, direct", restorative, 184, 1, back, 0},
	{"533", "Adhesive restoration, three surfaces, posterior tooth, direct", restorative, 220, 1, back, 0},
	{"534", "Adhesive restoration, four surfaces, posterior tooth, direct", restorative, 248, 1, back, 0},
	{"535", "Adhesive restoration, five surfaces, posterior tooth, direct", restorative, 284, 1, back, 0},
	{"572", "Provisional (intermediate/temporary) restoration, per tooth", restorative, 62, 1, toothOnly, 0},
	{"575", "Pin retention, per pin", restorative, 34, 2, toothOnly, 0},
	{"577", "Cusp capping, per cusp", restorative, 38, 2, toothOnly, 0},
	{"597", "Post, direct", restorative, 142, 1, toothOnly, 0},
	{"613", "Full crown, non-metallic, indirect", crowns, 1480, 1, toothOnly, 0},
	{"615", "Full crown, veneered, indirect", crowns, 1560, 1, toothOnly, 0},
	{"618", "Full crown, metallic, indirect", crowns, 1390, 1, toothOnly, 0},
	{"631", "Provisional crown, per tooth", crowns, 168, 1, toothOnly, 0},
	{"643", "Bridge pontic, indirect, per pontic", crowns, 1120, 1, toothOnly, 0},
	{"651", "Recementing crown or veneer", crowns, 122, 1, toothOnly, 0},
	{"655", "Removal of crown", crowns, 110, 1, toothOnly, 0},
	{"671", "Full crown attached to osseointegrated implant, non-metallic, indirect", crowns, 1890, 1, toothOnly, 0},
	{"688", "Insertion of a one-stage endosseous implant, per implant", surgery, 2150, 1, toothOnly, 0},
	{"711", "Complete maxillary denture", prosthodontics, 1180, 1, noSite, 0},
	{"719", "Complete maxillary and mandibular dentures", prosthodontics, 2050, 1, noSite, 0},
	{"721", "Partial maxillary denture, resin base", prosthodontics, 580, 1, noSite, 0},
	{"741", "Adjustment of a denture", prosthodontics, 58, 1, noSite, 0},
	{"743", "Relining, complete denture, processed", prosthodontics, 340, 1, noSite, 0},
	{"811", "Passive removable appliance, per arch", orthodontics, 420, 1, noSite, 0},
	{"821", "Active removable appliance, per arch", orthodontics, 640, 1, noSite, 0},
	{"881", "Complete course of orthodontic treatment", orthodontics, 6200, 1, noSite, unpriced},
	{"911", "Palliative care", general, 74, 1, noSite, 0},
	{"926", "Individually made tray, medicament(s)", general, 142, 1, noSite, 0},
	{"927", "Provision of medication/medicament", general, 24, 1, noSite, 0},
	{"943", "Sedation, inhalation", general, 86, 1, noSite, 0},
	{"965", "Occlusal splint", general, 540, 1, noSite, 0},
	{"968", "Occlusal adjustment", general, 52, 1, noSite, 0},
	{"986", "Post-operative care, not otherwise included", general, 0, 1, noSite, 0},
	{"990", "Treatment not otherwise included (specify)", general, 80, 1, noSite, unpriced},
	{"BRUSH", "Toothbrush, electric", ownGoods, 129, 1, noSite, goods | taxed},
	{"PASTE", "Toothpaste, high fluoride, 5000 ppm", ownGoods, 24, 3, noSite, goods | taxed},
	{"WHKIT", `Whitening kit, "at home", refill`, ownGoods, 95, 2, noSite, goods | taxed},
	{"CASE", "Retainer case, kids' colours", ownGoods, 11, 2, noSite, goods | taxed | unlisted},
	{"LATE", "Failed to attend, fee", ownGoods, 50, 1, noSite, goods | taxed | unlisted},
	{"VOUCH", "Gift voucher — 贈り物", ownGoods, 100, 1, noSite, goods | taxed | unlisted | retired},
	{"OLDXR", "Radiograph, film, duplicate", 0, 18, 1, noSite, goods | taxed | unlisted | retired | withdrawn},
}

// itemNumbered finds an item by its code, which must be there.
func itemNumbered(code string) *item {
	for i := range items {
		if items[i].code == code {
			return &items[i]
		}
	}
	panic("no item " + code)
}

func itemsNumbered(codes string) []*item {
	var out []*item
	for _, code := range columnNames(codes) {
		out = append(out, itemNumbered(code))
	}
	return out
}

// menu is what is done at a visit: one of the first, then any of the second.
type menu struct{ main, more []*item }

// menus are those of each appointment type.
var menus = map[string]*menu{
	"EX": {itemsNumbered("011 012 012 012"), itemsNumbered("114 114 121 022 022 037 111 141 072 161 PASTE 019 131 061")},
	"HY": {itemsNumbered("114 114 111 115 250"), itemsNumbered("121 141 222 221 165 BRUSH PASTE 123 213 022 161")},
	"FI": {itemsNumbered("531 532 533 534 521 522 523 511"), itemsNumbered("532 521 524 525 535 577 575 022 411 113 572 943")},
	"CO": {itemsNumbered("014 014 015 016"), itemsNumbered("022 037 071 072 073 088 018 CASE 965 151")},
	"EM": {itemsNumbered("013"), itemsNumbered("022 419 572 311 392 911 061 927 651 213")},
	"CR": {itemsNumbered("613 613 615 618 643 671"), itemsNumbered("631 071 655 577 597 022 072 968")},
	"RC": {itemsNumbered("415 417 455"), itemsNumbered("416 418 022 414 572 061 927")},
	"XT": {itemsNumbered("311 311 314 322 323 324 688"), itemsNumbered("022 037 927 943 391 231 911")},
	"WH": {itemsNumbered("119 118 117"), itemsNumbered("WHKIT 926 072 165 PASTE")},
	"OR": {itemsNumbered("811 821 881 741 721"), itemsNumbered("071 073 037 CASE 743 990 141")},
}

var (
	freeItem     = itemNumbered("986")
	plannedItems = itemsNumbered("613 615 643 671 688 415 417 416 531 532 533 521 522 311 324 711 719 721 821 881 965 119 250 222 161 114 990")
)

// A fee period begins on the first day of July; the last one has not ended.
var feePeriods = [...]struct{ from, perMille int64 }{
	{daysOf(2022, 7, 1), 1000}, {daysOf(2023, 7, 1), 1035}, {daysOf(2024, 7, 1), 1078}, {daysOf(2025, 7, 1), 1120},
}

// perMilleOfLevel is what each fee level pays of the standard fee.
var perMilleOfLevel = [1 + feeLevels]int64{1000, 1000, 900, 850, 780} // by key; without a level, the standard

// fee is what an item costs at a fee level on a day, to the next 5 cents.
func fee(it *item, level, day int64) money {
	period := len(feePeriods) - 1
	for period > 0 && feePeriods[period].from > day {
		period--
	}
	return feeIn(it, level, period)
}

func feeIn(it *item, level int64, period int) money {
	const step = 5 * cent
	exact := int64(it.dollars*dollar) * perMilleOfLevel[level] * feePeriods[period].perMille
	return money(divide(exact, 1_000_000*int64(step))) * step
}
