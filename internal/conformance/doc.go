// Command conformance writes CONFORMANCE.md: what the project requires of
// itself by RFC, one row a requirement, and which tests hold it to that. It reads two things: the
// requirements in rows/*.txt, and the names of the tests in the tree.
//
//	go generate ./internal/conformance
//
// A test fails when the document is not what the command would write.
//
// # Requirements
//
// A file of rows is one table. Its first line, behind "# ", is the table's title. Each further line is a row
// of up to eight columns between " | ":
//
//	id | level | section | tag | statement | status | remark | tests
//
// The level is the keyword of RFC 2119, or "-" for definitions and examples; a statement of level MUST NOT or SHOULD NOT
// says what does not happen. The tag tells which part has to carry it out: A the allocation of ports, S mappings and
// sessions, P the rewriting of packets, L records, H the program around the library. The last three columns may be missing.
//
// A status stands in a row only where tests do not speak for it; it then needs a remark that says why:
//
//	option    something that may be done, and is not, or not by default
//	deviates  something that is done otherwise, on purpose
//	open      something that is not done yet, or not wholly
//	not ours  something that does not apply, or is the caller's
//
// A row without a status is "tested", and has to have a test. A status in the row wins over tests: tests of a part do
// not make a whole. The command notes open rows whose id a test carries, so that somebody looks again.
//
// # Tests
//
// A test is found to hold a row in four ways:
//
//   - Its name carries the id: TestRFC5508_03b_Options holds 5508-03b, TestRFC7768_01_02_03_OneRecordABlock three rows,
//     TestATK_01_RandomResets ATK-01, TestSYS_05 SYS-05, TestRFC1624_CK02_Vector CK-02. Numbers count directly behind the RFC (or behind one
//     another); the first word ends the list.
//   - The constant name of a subtest begins with the id: t.Run("5508-03b", ...), or the name that a table of tests has for
//     it, as key or value of a composite literal: {"5382-05 established", ...}. In a test whose name carries an RFC, the
//     ids of events stand alone: "E04_E06".
//   - Its doc comment has a paragraph that lists further rows: "Rows: 5508-04, 5508-04a."
//   - The row names it in its last column, as file:Test, for tests that are named otherwise.
//
// Ids that no row has are no ids: TestRFC7597_11_examples is one of row 11, whatever other numbers a name has.
package main

//go:generate go run .
