package sandbox

// The words that rows are made of. Repeats weigh a draw; what an export must
// survive comes up now and then: quotes, commas, backslashes, tabs, line ends,
// formula starts, combining marks, right-to-left text, and characters of two,
// three and four bytes of UTF-8.

var femaleNames = []string{
	"Charlotte", "Amelia", "Olivia", "Isla", "Mia", "Ava", "Grace", "Willow", "Harper", "Chloe",
	"Ella", "Sophie", "Ruby", "Matilda", "Lucy", "Zoe", "Hannah", "Georgia", "Priya", "Mei",
	"Siobhán", "Renée", "Zoë", "Anne-Marie", "Мария", "Ольга", "美玲", "さくら", "지우", "Thị Hương",
	"فاطمة", "D'Arcy",
}

var maleNames = []string{
	"Oliver", "Noah", "Leo", "William", "Henry", "Jack", "Theodore", "Charlie", "Luca", "Thomas",
	"Lachlan", "Angus", "Hamish", "Ethan", "Cooper", "Xavier", "Arjun", "Wei", "Kai", "Mateo",
	"Jean-Luc", "José", "Björn", "Łukasz", "Дмитрий", "Иван", "建国", "健太", "Đức", "محمد",
	"Tāne", "O'Shea",
}

var surnames = []string{
	"Smith", "Jones", "Williams", "Brown", "Wilson", "Taylor", "Johnson", "White", "Martin", "Anderson",
	"Thompson", "Nguyen", "Thomas", "Walker", "Harris", "Lee", "Ryan", "Robinson", "Kelly", "King",
	"Campbell", "Murphy", "Singh", "Chen", "Patel", "McDonald", "Zhang", "Kaur", "Papadopoulos", "Rossi",
	"O'Brien", "D'Angelo", "van der Merwe", "Smith, Jr.", "Müller-Lüdenscheidt", "Nguyễn", "Иванова", "王", "Høgh", "Te Whānau-ā-Apanui",
}

var nicknames = []string{
	"Bill", "Kath", "Robbo", "Jono", "\"Bear\" 🐻", "Shaz", "Macca", "Dee, Dee", "Zé", "😀 Smiley", "Nan", "The 'Doc'",
}

var femaleTitles = []string{"Mrs", "Ms", "Ms", "Miss", "Miss", "Dr"}

var maleTitles = []string{"Mr", "Mr", "Mr", "Mr", "Master", "Dr", "Prof"}

var occupations = []string{
	"Teacher", "Nurse", "Electrician", "Plumber", "Retired", "Student", "Farmer", "Accountant", "Chef", "Bus Driver",
	"Software Engineer", "Barista", "Sales\\Marketing", "Builder, self-employed", "Solicitor", "=Consultant", "Café owner", "Pilot ✈️",
}

var mailDomains = []string{"@example.com", "@example.org", "@mail.example.net"}

var streets = []string{
	"George Street", "High Street", "Station Road", "Church Street", "Victoria Parade", "King William Road",
	"Beach Road", "St Kilda Road", "O'Connell Street", "Railway Terrace", "Wattle Grove", "Banksia Close",
	"Queen's Parade", "Pacific Highway", "Jacaranda Avenue", "Murray Street",
}

var units = []string{
	"Unit 2", "Unit 14", "Level 3, Suite 5", "Flat 1\\A", "c/- Reception\nRear entrance", "Shop 7\tUpper Mall", "\"The Gables\"", "Lot 12",
}

var channels = []string{"SMS", "SMS", "SMS", "Email", "Email", "Letter"}

type suburb struct{ name, postcode, state string }

var suburbs = []suburb{
	{"Parramatta", "2150", "NSW"}, {"Newtown", "2042", "NSW"}, {"Manly", "2095", "NSW"}, {"Chatswood", "2067", "NSW"},
	{"Blacktown", "2148", "NSW"}, {"Wagga Wagga", "2650", "NSW"}, {"Dubbo", "2830", "NSW"}, {"Byron Bay", "2481", "NSW"},
	{"Richmond", "3121", "VIC"}, {"Fitzroy", "3065", "VIC"}, {"St Kilda", "3182", "VIC"}, {"Box Hill", "3128", "VIC"},
	{"Footscray", "3011", "VIC"}, {"Ballarat Central", "3350", "VIC"}, {"Geelong", "3220", "VIC"}, {"Mildura", "3500", "VIC"},
	{"Fortitude Valley", "4006", "QLD"}, {"Toowong", "4066", "QLD"}, {"Southport", "4215", "QLD"}, {"Cairns City", "4870", "QLD"},
	{"Toowoomba City", "4350", "QLD"}, {"Mackay", "4740", "QLD"}, {"Glenelg", "5045", "SA"}, {"Norwood", "5067", "SA"},
	{"Port Adelaide", "5015", "SA"}, {"Mount Gambier", "5290", "SA"}, {"Fremantle", "6160", "WA"}, {"Subiaco", "6008", "WA"},
	{"Joondalup", "6027", "WA"}, {"Kalgoorlie", "6430", "WA"}, {"Sandy Bay", "7005", "TAS"}, {"Launceston", "7250", "TAS"},
	{"D'Aguilar", "4514", "QLD"}, {"Braddon", "2612", "ACT"}, {"Belconnen", "2617", "ACT"}, {"Darwin City", "0800", "NT"},
	{"Alice Springs", "0870", "NT"}, {"O'Connor", "2602", "ACT"},
}
