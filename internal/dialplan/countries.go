package dialplan

// countryTable are the national numbering plans that are known digit by digit,
// from what their regulators publish (ITU-T E.129, E.164 national plans). Lengths
// are generous: a number is refused only if it cannot be one. It is never written
// to.
var countryTable = [...]country{
	// Europe.
	{
		iso: "AT", code: "43", intl: "00", trunk: "0", min: 4, max: 13, local: 3,
		mobile:    "650 651 652 653 655 657 659 660 661 663 664 665 666 667 668 669 67 68 69",
		premium:   "810 820 821 828 900 901 930 931 939 118xxx 118xx",
		bare:      "116xxx 118xx 118xxx 1450 141 142 147 148xx",
		emergency: "112 122 133 140 144",
	},
	{
		iso: "BE", code: "32", intl: "00", trunk: "0", min: 8, max: 10,
		mobile: "45 46 47 48 49", premium: "70 90 1207 1307 1313 14xx",
		bare: "116xxx 103 105 106 107 1207 1307 1313 14xx 1722 1733", emergency: "112 100 101",
	},
	{
		iso: "BG", code: "359", intl: "00", trunk: "0", min: 6, max: 9, local: 4,
		mobile: "87 88 89 98 99", premium: "90 700 118xx", bare: "116xxx 118xx", emergency: "112 150 160 166",
	},
	{
		iso: "BA", code: "387", intl: "00", trunk: "0", min: 8, max: 9, local: 6,
		mobile: "6", premium: "90 82", bare: "118x", emergency: "112 122 123 124",
	},
	{
		iso: "BY", code: "375", intl: "810", trunk: "80 8", min: 9, max: 10, local: 5,
		mobile: "25 29 33 44", premium: "902", emergency: "112 101 102 103 104",
	},
	{
		iso: "CH", code: "41", intl: "00", trunk: "0", min: 9, max: 12,
		mobile: "74 75 76 77 78 79", premium: "84 878 900 901 906 18xx",
		bare: "116xxx 117xx 140 143 145 147 161 162 163 164 166 187 18xx", emergency: "112 117 118 144 1414",
	},
	{
		iso: "CY", code: "357", intl: "00", min: 8, max: 8, noAreas: true,
		mobile: "94 95 96 97 98 99", premium: "70 77 90 118xx", bare: "116xxx 118xx 1xxx", emergency: "112 199",
	},
	{
		iso: "CZ", code: "420", intl: "00", min: 9, max: 12,
		mobile: "601 602 603 604 605 606 607 608 70 72 73 77 79", premium: "81 83 84 90 118x", plain: "700",
		bare: "116xxx 118x 12xxx", emergency: "112 150 155 156 158",
	},
	{
		iso: "DE", code: "49", intl: "00", trunk: "0", min: 5, max: 13, local: 3,
		// 018, 0137, 0900, 0700, 012, 019: shared cost, mass calling, premium rate,
		// personal numbers, new services, dial-in.
		mobile: "15 16 17", premium: "12 137 138 168 169 18 19 700 900 118xx 118xxx",
		bare: "115 116xxx 118xx 118xxx", emergency: "110 112",
	},
	{
		iso: "DK", code: "45", intl: "00", min: 8, max: 12, noAreas: true,
		mobile: "2 30 31 40 41 42 50 51 52 53 60 61 71 81 91 92 93", premium: "90 118 181x",
		bare: "113 114 115 116xxx 118 181x", emergency: "112",
	},
	{
		iso: "EE", code: "372", intl: "00", min: 7, max: 12, noAreas: true,
		mobile: "5 81 82 83 84", premium: "70 90 118x 1182", bare: "116xxx 118x 12xx 13xx 14xx 15xx", emergency: "112",
	},
	{
		iso: "ES", code: "34", intl: "00", min: 9, max: 13,
		mobile: "6 71 72 73 74 75 76 77 78 79", premium: "70 803 806 807 901 902 905 907 118xx",
		bare: "010 012 016 024 060 1004 116xxx 118xx", emergency: "112 061 062 080 085 088 091 092",
	},
	{
		iso: "FI", code: "358", intl: "00 990 994 999", trunk: "0", min: 5, max: 12, local: 4,
		mobile: "4 50", premium: "100 200 202 300 600 606 700 707 708 118 118xxx",
		bare: "116xxx 118 118xxx", emergency: "112",
	},
	{
		iso: "FR", code: "33", intl: "00", trunk: "0", min: 9, max: 13,
		mobile: "6 7", premium: "81 82 89 118xxx 3xxx", plain: "30xx 31xx",
		bare: "10xx 116xxx 118xxx 3xxx", emergency: "15 17 18 112 114 115 119 191 196 197",
	},
	{
		iso: "GB", code: "44", intl: "00", trunk: "0", min: 7, max: 10, local: 5,
		// 070 personal numbers, 076 pagers, 084 and 087 service numbers, 09.
		mobile: "71 72 73 74 75 77 78 79 7624", premium: "70 76 84 87 9 118xxx", plain: "80",
		bare: "100 101 105 111 119 123 155 159 195 116xxx 118xxx", emergency: "112 999",
	},
	{
		iso: "GR", code: "30", intl: "00", min: 10, max: 13,
		mobile: "69", premium: "70 801 806 807 81 82 83 84 85 86 87 88 89 90 118xx 14xxx",
		bare: "116xxx 118xx 1xxxx", emergency: "112 100 108 166 199",
	},
	{
		iso: "HR", code: "385", intl: "00", trunk: "0", min: 7, max: 12, local: 6,
		mobile: "91 92 95 97 98 99", premium: "60 61 62 64 65 69 72 118xx 118x", bare: "116xxx 118x 118xx", emergency: "112 192 193 194 195",
	},
	{
		iso: "HU", code: "36", intl: "00", trunk: "06", min: 8, max: 12, local: 6,
		mobile: "20 30 31 50 70", premium: "40 90 91 118xx", bare: "116xxx 118xx 12xx", emergency: "112 104 105 107",
	},
	{
		iso: "IE", code: "353", intl: "00", trunk: "0", min: 7, max: 10, local: 5,
		mobile: "82 83 85 86 87 88 89", premium: "15xxxxxxxx 1850xxxxxx 1890xxxxxx 118xx", plain: "818",
		bare: "1800xxxxxx 15xxxxxxxx 1850xxxxxx 1890xxxxxx 116xxx 118xx", emergency: "112 999",
	},
	{
		iso: "IS", code: "354", intl: "00", min: 7, max: 9, noAreas: true,
		mobile: "38 6 7 8", premium: "90 118", plain: "80", bare: "118 17xx 116xxx", emergency: "112",
	},
	{
		iso: "IT", code: "39", intl: "00", min: 5, max: 12, leadingZero: true,
		mobile: "3", premium: "12xx 144 163 164 166 178 199 84 89 4xxxx", plain: "803 800",
		bare: "116xxx 117 114 119 12xx 15xx 187 190 4xxxx", emergency: "112 113 115 118",
	},
	{
		iso: "LI", code: "423", intl: "00", min: 7, max: 9, noAreas: true,
		mobile: "6 7", premium: "84 87 90 18xx", bare: "18xx 14x 16x", emergency: "112 117 118 144",
	},
	{
		iso: "LT", code: "370", intl: "00", trunk: "0 8", min: 8, max: 8,
		mobile: "6", premium: "70 808 90 118 118x", bare: "116xxx 118 118x 18xx 19xx", emergency: "112",
	},
	{
		iso: "LU", code: "352", intl: "00", min: 4, max: 11, noAreas: true,
		mobile: "6", premium: "801 90 118xx", bare: "116xxx 118xx 12xxx", emergency: "112 113",
	},
	{
		iso: "LV", code: "371", intl: "00", min: 8, max: 8, noAreas: true,
		mobile: "2", premium: "81 90 118x", bare: "116xxx 118x", emergency: "112 110 113",
	},
	{
		iso: "MC", code: "377", intl: "00", min: 8, max: 9, noAreas: true,
		mobile: "3 4 6", premium: "89", emergency: "112 15 17 18",
	},
	{
		iso: "MD", code: "373", intl: "00", trunk: "0", min: 8, max: 8, local: 5,
		mobile: "6 7", premium: "90 808 118x", bare: "116xxx 118x 14xx 15xx", emergency: "112",
	},
	{
		iso: "MT", code: "356", intl: "00", min: 8, max: 8, noAreas: true,
		mobile: "7 9", premium: "50 51 52 118x", bare: "116xxx 118x 17xx", emergency: "112",
	},
	{
		iso: "NL", code: "31", intl: "00", trunk: "0", min: 7, max: 11, local: 6,
		mobile: "61 62 63 64 65 68", premium: "66 67 84 87 90 18xx",
		bare: "113 116xxx 144 14xxx 14xxxx 18xx", emergency: "112",
	},
	{
		iso: "NO", code: "47", intl: "00", min: 8, max: 12, noAreas: true,
		mobile: "4 9 58 59", premium: "81 82 880 18xx 18xxx", bare: "0xxxx 116xxx 175 177 18xx 18xxx", emergency: "110 112 113", leadingZero: true,
	},
	{
		iso: "PL", code: "48", intl: "00", min: 9, max: 12,
		mobile: "45 50 51 53 57 60 66 69 72 73 78 79 88", premium: "70 801 804 118xxx",
		bare: "116xxx 118xxx 19xxx", emergency: "112 997 998 999",
	},
	{
		iso: "PT", code: "351", intl: "00", min: 9, max: 9,
		mobile: "9", premium: "6 707 708 76 808 809 18xx", bare: "116xxx 14xx 16xxx 18xx", emergency: "112 117",
	},
	{
		iso: "RO", code: "40", intl: "00", trunk: "0", min: 9, max: 9,
		mobile: "7", premium: "801 802 803 805 806 807 808 870 90 118xxx 118x", bare: "116xxx 118x 118xxx 19xx", emergency: "112",
	},
	{
		iso: "RS", code: "381", intl: "00", trunk: "0", min: 7, max: 12, local: 5,
		mobile: "60 61 62 63 64 65 66 67 68 69", premium: "70 78 79 90 118xx 11xxx", bare: "116xxx 118xx 19xxx", emergency: "112 192 193 194",
	},
	{
		iso: "RU", code: "7", intl: "810", trunk: "8", min: 10, max: 10, local: 5, full: true,
		mobile: "9", premium: "801 803 805 806 807 808 809", emergency: "112 101 102 103 104",
	},
	{
		iso: "SE", code: "46", intl: "00", trunk: "0", min: 7, max: 13, local: 5,
		mobile: "70 72 73 76 79", premium: "71 900 939 944 99 118xxx", bare: "113 11313 11414 116xxx 1177 118xxx", emergency: "112",
	},
	{
		iso: "SI", code: "386", intl: "00", trunk: "0", min: 8, max: 8, local: 7,
		mobile: "30 31 40 41 51 64 65 68 69 70 71", premium: "88 89 90 118x", bare: "116xxx 118x", emergency: "112 113",
	},
	{
		iso: "SK", code: "421", intl: "00", trunk: "0", min: 9, max: 9, local: 6,
		mobile: "90 91 94 95", premium: "850 900 97 98 118x 12xxx", bare: "116xxx 118x 12xxx 18xxx", emergency: "112 150 155 158 159",
	},
	{
		iso: "TR", code: "90", intl: "00", trunk: "0", min: 10, max: 10, local: 7, full: true,
		mobile: "5", premium: "822 888 898 900 118xx", bare: "118xx 444xxxx", emergency: "112 110 155 156",
	},
	{
		iso: "UA", code: "380", intl: "00", trunk: "0", min: 9, max: 10, local: 5,
		mobile: "39 50 63 66 67 68 73 75 77 91 92 93 94 95 96 97 98 99", premium: "700 703 900", bare: "116xxx 15xx", emergency: "112 101 102 103 104",
	},

	// North America (the plan of +1).
	{
		iso: "US", code: "1", intl: "011", trunk: "1", min: 10, max: 10, local: 7, full: true,
		premium: "900 700 500 521 522 523 524 525 526 527 528 529 532 533 535 538 542 543 544 545 546 547 549 550 552 553 554 556 558 566 569 577 578 588 589 xxx976xxxx 411",
		bare:    "211 311 411 511 611 711 811 988", emergency: "911",
	},
	{
		iso: "CA", code: "1", intl: "011", trunk: "1", min: 10, max: 10, local: 7, full: true,
		premium: "900 700 500 521 522 523 524 525 526 527 528 529 532 533 535 538 542 543 544 545 546 547 549 550 552 553 554 556 558 566 569 577 578 588 589 600 622 633 644 655 677 688 xxx976xxxx 411",
		bare:    "211 311 411 511 611 711 811 988", emergency: "911",
	},
	{
		iso: "MX", code: "52", intl: "00", min: 10, max: 10,
		premium: "900", bare: "0xx", emergency: "911",
	},

	// South America.
	{
		iso: "AR", code: "54", intl: "00", trunk: "0", min: 10, max: 11, local: 6, mobile15: true,
		mobile: "9", premium: "600 605 609 810", emergency: "911 100 101 107",
	},
	{
		iso: "BR", code: "55", intl: "00", trunk: "0", min: 10, max: 11, local: 8, carrier: true,
		mobile: "xx9xxxxxxxx", premium: "300 400 500 900", emergency: "190 192 193",
	},
	{
		iso: "CL", code: "56", intl: "00", min: 9, max: 11,
		mobile: "9", premium: "600 700", bare: "14xx", emergency: "131 132 133",
	},
	{
		iso: "CO", code: "57", intl: "00 005 007 009 00414 00444 00456 00468", min: 10, max: 11,
		mobile: "3", premium: "901", bare: "01800xxxxxxx", emergency: "112 123", leadingZero: true,
	},
	{
		iso: "PE", code: "51", intl: "00", trunk: "0", min: 8, max: 9, local: 6, full: true,
		mobile: "9xxxxxxxx", premium: "801 805 808", emergency: "105 106 116 911",
	},
	{
		iso: "UY", code: "598", intl: "00", trunk: "0", min: 7, max: 8,
		mobile: "9", premium: "900", full: true, emergency: "911 112",
	},

	// Asia and the Pacific.
	{
		iso: "AE", code: "971", intl: "00", trunk: "0", min: 5, max: 12, local: 7,
		mobile: "50 52 54 55 56 58", premium: "600 700 900",
		bare: "600xxxxxx 800xx 800xxx 800xxxx 800xxxxx 800xxxxxx 800xxxxxxx", emergency: "112 997 998 999",
	},
	{
		// 13 and 1300: shared cost; 12: directories and operators; 14: data, satellite.
		iso: "AU", code: "61", intl: "0011", trunk: "0", min: 4, max: 10, local: 8,
		mobile: "4", premium: "12xx 12xxx 13xxxx 13xxxxxxxx 14 19",
		bare: "12xx 12xxx 13xxxx 13xxxxxxxx 180xxxx 180xxxxxxx 190xxxxxxx 19xxxx", emergency: "000 106 112",
	},
	{
		iso: "CN", code: "86", intl: "00", trunk: "0", min: 5, max: 12, local: 7,
		mobile:  "13xxxxxxxxx 14xxxxxxxxx 15xxxxxxxxx 16xxxxxxxxx 17xxxxxxxxx 18xxxxxxxxx 19xxxxxxxxx",
		premium: "400xxxxxxx 96xxx 96xxxx 16xxx 16xxxxxx",
		bare: "13xxxxxxxxx 14xxxxxxxxx 15xxxxxxxxx 16xxxxxxxxx 17xxxxxxxxx 18xxxxxxxxx 19xxxxxxxxx 400xxxxxxx 800xxxxxxx " +
			"95xxx 95xxxx 96xxx 96xxxx 10xxx 12xxx 16xxx 16xxxxxx",
		emergency: "110 119 120 122",
	},
	{
		iso: "HK", code: "852", intl: "001", min: 8, max: 9, noAreas: true,
		mobile: "4 5 6 7 84 85 86 87 89 9", premium: "900 18xxx 1xxx", bare: "18xxx 1xxx", emergency: "112 992 999",
	},
	{
		iso: "ID", code: "62", intl: "001 007 008 01016 01017", trunk: "0", min: 7, max: 12, local: 5,
		mobile: "8", premium: "803 809 900 14xxx 15xxx", plain: "800 804 807", bare: "14xxx 15xxx 15xxxxx", emergency: "112 110 113 118 119",
	},
	{
		iso: "IL", code: "972", intl: "00 012 013 014 015 016 017 018 019", trunk: "0", min: 8, max: 10, local: 7,
		mobile: "50 51 52 53 54 55 58", premium: "1900xxxxxx 1901xxxxxx 1902xxxxxx 1919xxxxxx 1700xxxxxx 1599xxxxxx 144",
		bare:      "1599xxxxxx 1700xxxxxx 1800xxxxxx 1801xxxxxx 1809xxxxxx 1900xxxxxx 1901xxxxxx 1902xxxxxx 1919xxxxxx 144",
		emergency: "112 100 101 102",
	},
	{
		// Mobile numbers share their first digits with area codes: those of the
		// large cities are told apart by what comes next.
		iso: "IN", code: "91", intl: "00", trunk: "0", min: 10, max: 13, local: 6, full: true,
		mobile: "6 7 8 9", premium: "186 190", plain: "792 793 794 802 804 806",
		bare: "1800xxxxxx 1800xxxxxxx 186xxxxxxxx 190xxxxxxx", emergency: "112 100 101 102 108",
	},
	{
		iso: "JP", code: "81", intl: "010", trunk: "0", min: 8, max: 13, local: 5,
		mobile: "60 70 80 90", premium: "570 990 104", plain: "800 120",
		bare: "104 113 115 116 117 171 177 188 189", emergency: "110 118 119",
	},
	{
		iso: "KR", code: "82", intl: "00700 00755 00777 001 002 005 006 008", trunk: "0", min: 7, max: 11, local: 7,
		mobile: "10 11 16 17 18 19", premium: "30 50 60 15xxxxxx 16xxxxxx 18xxxxxx", bare: "15xxxxxx 16xxxxxx 18xxxxxx 114 120 131 132 1330", emergency: "112 119",
	},
	{
		iso: "KZ", code: "7", intl: "810", trunk: "8", min: 10, max: 10, local: 5, full: true,
		mobile: "70 747 75 76 771 775 776 777 778", premium: "809", emergency: "112 101 102 103 104",
	},
	{
		iso: "MY", code: "60", intl: "00", trunk: "0", min: 8, max: 10, local: 6,
		mobile: "1", premium: "1300xxxxxx 1600xxxxxx 600", plain: "1800xxxxxx 1700xxxxxx 15xxxxxxxx",
		bare: "1300xxxxxx 1600xxxxxx 1700xxxxxx 1800xxxxxx", emergency: "112 991 994 999",
	},
	{
		iso: "NZ", code: "64", intl: "00", trunk: "0", min: 7, max: 10, local: 7,
		mobile: "2", premium: "83 900", plain: "24", bare: "018", emergency: "111",
	},
	{
		iso: "PH", code: "63", intl: "00", trunk: "0", min: 8, max: 12, local: 7,
		mobile: "9 81", bare: "1800xxxxxxx 1800xxxxxxxx", emergency: "911 112 117",
	},
	{
		iso: "PK", code: "92", intl: "00", trunk: "0", min: 8, max: 11, local: 6,
		mobile: "3", premium: "900", emergency: "112 15 16 115 1122",
	},
	{
		iso: "SA", code: "966", intl: "00", trunk: "0", min: 9, max: 10, local: 7,
		mobile: "5", premium: "700 92", bare: "700xxxxxxx 800xxxxxxx 92xxxxxxx", emergency: "112 911 997 998 999",
	},
	{
		iso: "SG", code: "65", intl: "001 002 008 018 019", min: 8, max: 11, noAreas: true,
		mobile: "8 9", premium: "1900xxxxxxx", plain: "800", bare: "100 104 1711 1777 1800xxxxxxx 1900xxxxxxx", emergency: "112 995 999",
	},
	{
		iso: "TH", code: "66", intl: "001 004 005 006 007 008 009", trunk: "0", min: 8, max: 9,
		mobile: "6 8 9", premium: "1900xxxxxx", bare: "1133 1800xxxxxx 1900xxxxxx", emergency: "112 191 199 1155 1669",
	},
	{
		iso: "TW", code: "886", intl: "002 005 006 007 009 019", trunk: "0", min: 8, max: 9, local: 6,
		mobile: "9", premium: "20", bare: "104 105 117 166 412xxxx", emergency: "110 112 119",
	},
	{
		iso: "VN", code: "84", intl: "00", trunk: "0", min: 9, max: 11,
		mobile: "3 5 7 8 9", premium: "1900xxxx 1900xxxxxx", bare: "1800xxxx 1800xxxxxx 1900xxxx 1900xxxxxx", emergency: "112 113 114 115",
	},

	// Africa.
	{
		iso: "CI", code: "225", intl: "00", min: 10, max: 10, noAreas: true, leadingZero: true,
		mobile: "01 05 07", emergency: "110 111 170 180 185",
	},
	{
		iso: "EG", code: "20", intl: "00", trunk: "0", min: 8, max: 10, local: 7,
		mobile: "10 11 12 15", premium: "900", bare: "15xxx 16xxx 17xxx 19xxx", emergency: "112 122 123 180",
	},
	{
		iso: "KE", code: "254", intl: "000", trunk: "0", min: 7, max: 10, local: 5,
		mobile: "1 7", premium: "900", emergency: "112 999 911",
	},
	{
		iso: "MA", code: "212", intl: "00", trunk: "0", min: 9, max: 9,
		mobile: "6 7", premium: "81 82 89", emergency: "112 15 19 177",
	},
	{
		iso: "NG", code: "234", intl: "009", trunk: "0", min: 7, max: 10, local: 5,
		mobile: "70 80 81 90 91", emergency: "112 199",
	},
	{
		iso: "ZA", code: "27", intl: "00", trunk: "0", min: 9, max: 9,
		mobile: "6 7 81 82 83 84", premium: "86 90", emergency: "112 10111 10177",
	},
}
