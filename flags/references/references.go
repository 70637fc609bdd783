// Package references finds the keys of flags in folders of source code.
package references

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

const (
	// MostPlaces of one key are listed: more than a person would go through before looking again.
	MostPlaces = 5
	// LargestFile in bytes that is looked into. People write no larger ones: these are dumps, recordings and bundles.
	LargestFile = 8 << 20
	// sniffed bytes tell a binary file by a NUL among them, as git does.
	sniffed = 8000
)

// skipped folders hold what others have written, or the past.
var skipped = []string{".git", ".hg", ".svn", "node_modules", "vendor"}

// Place is a line of a file, below the root, from 1.
type Place struct {
	File string
	Line int
}

func (p Place) String() string { return fmt.Sprintf("%s:%d", p.File, p.Line) }

// Found is where one key stands.
type Found struct {
	Key string
	// Places are the first MostPlaces, in the order of files and lines.
	Places []Place
	// Lines is on how many lines it stands altogether.
	Lines int
}

func (f Found) String() string {
	texts := make([]string, 0, len(f.Places)+1)
	for _, place := range f.Places {
		texts = append(texts, place.String())
	}
	if more := f.Lines - len(f.Places); more > 0 {
		texts = append(texts, fmt.Sprintf("%d more", more))
	}
	return strings.Join(texts, ", ")
}

// Report of one search.
type Report struct {
	// Found lists the keys that stand somewhere, in the order in which they were asked for.
	Found []Found
	// Files is how many were looked into.
	Files int
	// Unread lists the files below the root that were left out although they might be code, each with the reason.
	Unread []string
}

// Find looks for keys in all text files of folders below the root, as whole words: the key "write-new" does not stand in
// "write-newer" or in "re-write-new". It follows no symbolic link, never leaves the root, and skips .git, .hg, .svn,
// node_modules and vendor, binary files and those above LargestFile. A folder or file that can't be read is an error, for a key
// might stand there. Errors and reports hold names of files and never what stands in them.
func Find(ctx context.Context, root *os.Root, folders, keys []string) (Report, error) {
	s := search{root: root.FS(), found: make([]Found, len(keys))}
	for i, key := range keys {
		s.found[i].Key = key
		s.keys = append(s.keys, []byte(key))
	}
	for _, folder := range distinct(folders) {
		if info, err := fs.Stat(s.root, folder); err != nil {
			return Report{}, fmt.Errorf("look into folder %s: %w", folder, err)
		} else if !info.IsDir() {
			return Report{}, fmt.Errorf("look into folder %s: it is a file", folder)
		}
		err := fs.WalkDir(s.root, folder, func(name string, entry fs.DirEntry, err error) error {
			if err == nil {
				err = s.visit(ctx, folder, name, entry)
			}
			if errors.Is(err, fs.ErrNotExist) && name != folder {
				return nil // gone since the folder was listed
			}
			return err
		})
		if err != nil {
			return Report{}, fmt.Errorf("look into folder %s: %w", folder, err)
		}
	}
	s.report.Found = slices.DeleteFunc(s.found, func(f Found) bool { return f.Lines == 0 })
	return s.report, nil
}

// distinct cleans the folders' names, and drops those that lie in others.
func distinct(folders []string) []string {
	var out []string
	for _, folder := range folders {
		out = append(out, path.Clean(folder))
	}
	slices.Sort(out)
	out = slices.Compact(out)
	all := slices.Clone(out)
	return slices.DeleteFunc(out, func(folder string) bool {
		return slices.ContainsFunc(all, func(other string) bool {
			return other != folder && (other == "." || strings.HasPrefix(folder, other+"/"))
		})
	})
}

type search struct {
	root   fs.FS
	keys   [][]byte
	found  []Found
	report Report
}

func (s *search) visit(ctx context.Context, folder, name string, entry fs.DirEntry) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	switch {
	case entry.IsDir():
		if name != folder && slices.Contains(skipped, entry.Name()) {
			return fs.SkipDir
		}
		return nil
	case entry.Type()&fs.ModeSymlink != 0:
		s.unread(name, "a symbolic link")
		return nil
	case !entry.Type().IsRegular():
		return nil
	}
	info, err := entry.Info()
	if err != nil {
		return err
	}
	if info.Size() > LargestFile {
		s.unread(name, "%d MB", info.Size()>>20)
		return nil
	}
	file, err := s.root.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was only read
	return s.read(ctx, name, file)
}

func (s *search) unread(name, why string, args ...any) {
	s.report.Unread = append(s.report.Unread, name+" ("+fmt.Sprintf(why, args...)+")")
}

// read goes through a file line by line.
func (s *search) read(ctx context.Context, name string, file io.Reader) error {
	text := bufio.NewReaderSize(file, sniffed)
	head, err := text.Peek(sniffed)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read %s: %w", name, err)
	}
	var decoded io.Reader = text
	if bytes.HasPrefix(head, []byte("\xff\xfe")) || bytes.HasPrefix(head, []byte("\xfe\xff")) {
		decoded = transform.NewReader(text, unicode.UTF16(unicode.LittleEndian, unicode.ExpectBOM).NewDecoder())
	} else if bytes.IndexByte(head, 0) >= 0 {
		return nil
	}
	s.report.Files++
	lines := bufio.NewScanner(decoded)
	lines.Buffer(nil, 2*LargestFile) // as UTF-8 a file in UTF-16 may be larger
	for at := 1; lines.Scan(); at++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		for i, key := range s.keys {
			if stands(lines.Bytes(), key) {
				s.found[i].Lines++
				if len(s.found[i].Places) < MostPlaces {
					s.found[i].Places = append(s.found[i].Places, Place{name, at})
				}
			}
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// stands tells whether the key is a word of the line.
func stands(line, key []byte) bool {
	for from := 0; ; {
		i := bytes.Index(line[from:], key)
		if i < 0 || len(key) == 0 {
			return false
		}
		start := from + i
		end := start + len(key)
		before := start > 0 && goesOn(line[start-1], start > 1 && word(line[start-2]))
		after := end < len(line) && goesOn(line[end], end+1 < len(line) && word(line[end+1]))
		if !before && !after {
			return true
		}
		from = start + 1
	}
}

// goesOn tells whether a key's word goes on with the character next to it. A hyphen joins two words, but not one with nothing:
// "--write-new=true" names the key. A dot, which keys may hold too, is taken for the end of a word: rather a key too many is
// found than one overlooked.
func goesOn(next byte, wordBehind bool) bool { return word(next) || next == '-' && wordBehind }

func word(c byte) bool {
	return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
