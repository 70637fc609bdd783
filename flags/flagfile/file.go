package flagfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/contraflow/contraflow/flags"
)

const (
	// lockPoll is how often a busy lock is tried again: a writer holds it for milliseconds.
	lockPoll = 5 * time.Millisecond
	// newFileMode lets the applications of other users read the flags.
	newFileMode = 0o644
)

func (p *Provider) read() (document, error) {
	raw, err := os.ReadFile(p.path)
	if errors.Is(err, fs.ErrNotExist) {
		return document{}, fmt.Errorf("there is no flag file %s: create it, or correct its path: %w: %w",
			p.path, err, flags.ErrNotFound)
	}
	if err != nil {
		return document{}, fmt.Errorf("read the flag file: %w", err)
	}
	return parse(p.path, raw)
}

// readOrNew returns an empty document if there is no file.
func (p *Provider) readOrNew() (document, error) {
	d, err := p.read()
	if errors.Is(err, fs.ErrNotExist) {
		return newDocument(p.path), nil
	}
	return d, err
}

// write replaces the file in one step: a reader, or a crash, sees either the old content or the new. It leaves the old
// one where ctx is over by then.
func (p *Provider) write(ctx context.Context, d document) error {
	raw, err := d.encode()
	if err != nil {
		return err
	}
	target, mode, err := p.resolve()
	if err != nil {
		return err
	}
	// One name, which the lock guards: what a crash left behind is overwritten by the next writer.
	temporary := target + ".tmp"
	if err := writeSynced(temporary, raw, mode); err != nil {
		return fmt.Errorf("write the flag file: %w", err)
	}
	if err := flags.Late(ctx); err != nil {
		return errors.Join(fmt.Errorf("too late to replace the flag file %s: %w", p.path, err), os.Remove(temporary))
	}
	if err := os.Rename(temporary, target); err != nil {
		return fmt.Errorf("replace the flag file: %w", err)
	}
	return syncFolder(filepath.Dir(target))
}

// resolve follows a symbolic link, which the rename would replace otherwise.
func (p *Provider) resolve() (path string, mode fs.FileMode, err error) {
	path, err = filepath.EvalSymlinks(p.path)
	if errors.Is(err, fs.ErrNotExist) {
		return p.path, newFileMode, nil
	}
	if err != nil {
		return "", 0, fmt.Errorf("find the flag file: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", 0, fmt.Errorf("find the flag file: %w", err)
	}
	return path, info.Mode().Perm(), nil
}

func writeSynced(path string, raw []byte, mode fs.FileMode) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = file.Write(raw)
	if err == nil {
		err = file.Chmod(mode) // the umask, or a leftover, may have made it another
	}
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// syncFolder makes the rename survive a power cut.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync the flag file's folder: %w", err)
	}
	if err := errors.Join(folder.Sync(), folder.Close()); err != nil {
		return fmt.Errorf("sync the flag file's folder: %w", err)
	}
	return nil
}

// locked runs change while no other provider writes. The lock is on a file beside the flag file, because the flag file
// itself is replaced; it ends with the process, however that ends.
func (p *Provider) locked(ctx context.Context, change func() error) error {
	target, _, err := p.resolve()
	if err != nil {
		return err
	}
	lock, err := os.OpenFile(target+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("lock the flag file (its folder must be writable): %w", err)
	}
	defer lock.Close() // releases the lock
	retry := time.NewTicker(lockPoll)
	defer retry.Stop()
	for {
		err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return change()
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("lock the flag file %s: %w", p.path, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for another writer of the flag file %s: %w", p.path, ctx.Err())
		case <-retry.C:
		}
	}
}
