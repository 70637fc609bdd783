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
	"unicode/utf8"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"
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
	// As is how the key is written there, if in another way: LaunchDarkly's SDK for React writes it in camel case.
	As string
	// Places are the first MostPlaces, in the order of files and lines.
	Places []Place
	// Lines is on how many lines it stands altogether.
	Lines int
}

// String lists the places: "app/main.go:3, app/page.jsx:7, 2 more", or "as writeNew: app/page.jsx:7".
func (f Found) String() string {
	texts := make([]string, 0, len(f.Places)+1)
	for _, place := range f.Places {
		texts = append(texts, place.String())
	}
	if more := f.Lines - len(f.Places); more > 0 {
		texts = append(texts, fmt.Sprintf("%d more", more))
	}
	if f.As != "" {
		return "as " + f.As + ": " + strings.Join(texts, ", ")
	}
	return strings.Join(texts, ", ")
}

// Report of one search.
type Report struct {
	// Found lists the keys that stand somewhere, in the order in which they were asked for, those in camel case behind the others.
	Found []Found
	// Files is how many were looked into.
	Files int
	// Unread lists the files below the root that were left out although they might be code, each with the reason.
	Unread []string
	// Linked lists the symbolic links to folders below the root that were not looked into, each with where it leads.
	Linked []string
	// Gone is how many files were gone when they were to be looked into: somebody is changing the folders.
	Gone int
}

// Find looks for keys in all text files of folders below the root, as whole words: the key "write-new" does not stand in
// "write-newer" or in "re-write-new". In scripts it looks for keys in camel case, too. It follows symbolic links to files and not
// those to folders, never leaves the root, and skips .git, .hg, .svn, node_modules and vendor, binary files and those above LargestFile. A folder or file that can't be read is an error, for a key
// might stand there. Errors and reports hold names of files and never what stands in them.
func Find(ctx context.Context, root *os.Root, folders, keys []string) (Report, error) {
	s := search{root: root.FS()}
	s.everywhere, s.inScripts = wordsOf(keys)
	for _, w := range slices.Concat(s.everywhere, s.inScripts) {
		s.found = append(s.found, Found{Key: keys[w.key], As: w.as})
	}
	s.folders = distinct(folders)
	for _, folder := range s.folders {
		if err := s.walk(ctx, folder); err != nil {
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
			return other != folder && within(folder, other)
		})
	})
}

// within tells whether a cleaned path is the folder or lies in it.
func within(name, folder string) bool {
	return folder == "." || name == folder || strings.HasPrefix(name, folder+"/")
}

type search struct {
	root                  fs.FS
	folders               []string
	everywhere, inScripts []word
	found                 []Found // of each word, in this order
	report                Report
}

func (s *search) walk(ctx context.Context, folder string) error {
	if info, err := fs.Stat(s.root, folder); err != nil {
		return err
	} else if !info.IsDir() {
		return errors.New("it is a file")
	}
	return fs.WalkDir(s.root, folder, func(name string, entry fs.DirEntry, err error) error {
		if err == nil {
			err = s.visit(ctx, folder, name, entry)
		}
		if errors.Is(err, fs.ErrNotExist) && name != folder { // it was there when its folder was listed
			s.report.Gone++
			return nil
		}
		return err
	})
}

func (s *search) visit(ctx context.Context, folder, name string, entry fs.DirEntry) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	switch {
	case !utf8.ValidString(name): // which io/fs can't open
		s.unread(strings.ToValidUTF8(name, "\uFFFD"), "its name is not UTF-8")
		if entry.IsDir() {
			return fs.SkipDir
		}
		return nil
	case entry.IsDir() && name != folder && entry.Name() == "vendor":
		s.unread(name, "others' code")
		return fs.SkipDir
	case entry.IsDir():
		if name != folder && slices.Contains(skipped, entry.Name()) {
			return fs.SkipDir
		}
		return nil
	case entry.Type()&fs.ModeSymlink != 0:
		return s.link(ctx, name)
	case !entry.Type().IsRegular():
		return nil
	}
	info, err := entry.Info()
	if err != nil {
		return err
	}
	return s.file(ctx, name, info)
}

// link looks where a symbolic link leads to. One that leaves the root, or leads nowhere, is told.
func (s *search) link(ctx context.Context, name string) error {
	info, err := fs.Stat(s.root, name)
	if err != nil || !info.IsDir() && !info.Mode().IsRegular() {
		s.unread(name, "a symbolic link")
		return nil
	}
	if !info.IsDir() {
		return s.file(ctx, name, info)
	}
	if slices.Contains(skipped, path.Base(name)) {
		return nil
	}
	to, err := fs.ReadLink(s.root, name)
	if err != nil {
		return err
	}
	to = path.Join(path.Dir(name), to)
	if !slices.ContainsFunc(s.folders, func(folder string) bool { return within(to, folder) }) {
		s.report.Linked = append(s.report.Linked, name+" leads to "+to)
	}
	return nil
}

func (s *search) file(ctx context.Context, name string, info fs.FileInfo) error {
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
	if bytes.HasPrefix(head, []byte("\xff\xfe\x00\x00")) || bytes.HasPrefix(head, []byte("\x00\x00\xfe\xff")) {
		decoded = transform.NewReader(text, utf32.UTF32(utf32.LittleEndian, utf32.ExpectBOM).NewDecoder())
	} else if bytes.HasPrefix(head, []byte("\xff\xfe")) || bytes.HasPrefix(head, []byte("\xfe\xff")) {
		decoded = transform.NewReader(text, unicode.UTF16(unicode.LittleEndian, unicode.ExpectBOM).NewDecoder())
	} else if bytes.IndexByte(head, 0) >= 0 {
		return nil
	}
	s.report.Files++
	words := s.everywhere
	if isScript(name) {
		words = slices.Concat(s.everywhere, s.inScripts)
	}
	lines := bufio.NewScanner(decoded)
	lines.Buffer(nil, 2*LargestFile) // as UTF-8 a file in UTF-16 may be larger
	for at := 1; lines.Scan(); at++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		for i, w := range words {
			if stands(lines.Bytes(), w.text) {
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
