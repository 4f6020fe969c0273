package shell

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxLine bounds a command line, in bytes; an RSA key of 16384 bits fits.
const maxLine = 4096

var (
	errQuote   = errors.New("a quote is not closed")
	errControl = errors.New("the command holds a control character")
	errLong    = errors.New("the command is too long")
)

// Words splits a command line at spaces. Quotes, single or double, keep spaces
// together; nothing else means anything: no variables, no patterns, no pipes.
func Words(line string) ([]string, error) {
	if len(line) > maxLine {
		return nil, errLong
	}
	if !utf8.ValidString(line) {
		return nil, errControl
	}
	var words []string
	var word strings.Builder
	var quote rune
	inWord := false
	for _, r := range line {
		switch {
		case r != '\t' && !unicode.IsPrint(r):
			return nil, errControl
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, inWord = r, true
		case r == ' ' || r == '\t':
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, errQuote
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}
