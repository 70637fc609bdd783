package postgres

import (
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// folderPrefix begins the names of our temporary folders.
	folderPrefix = "contraflow-postgres-"
	// lockName is a file that the process behind a folder keeps locked while it lives.
	lockName = "alive"
	// newborn folders may not be locked yet.
	newborn = time.Minute
)

// claim locks a folder for as long as this process lives: the file isn't inherited.
func claim(root string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(root, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// sweep removes the folders of processes that were killed before they could. Their servers have ended with them.
func sweep() {
	folders, _ := filepath.Glob(filepath.Join(os.TempDir(), folderPrefix+"*")) // only a malformed pattern fails
	for _, folder := range folders {
		file, err := os.OpenFile(filepath.Join(folder, lockName), os.O_RDWR, 0)
		if err != nil {
			continue // another user's, or none of ours
		}
		info, err := file.Stat()
		if err == nil && time.Since(info.ModTime()) > newborn && syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.RemoveAll(folder) // the next start tries again
		}
		_ = file.Close()
	}
}
