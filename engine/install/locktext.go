package install

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"gopkg.in/yaml.v3"

	"github.com/cipherstream/cipherstream/engine/host"
)

// lockText is a lock file with its comments and its order.
type lockText struct {
	path string
	text []byte
	mode fs.FileMode
	lock *host.Lockfile
}

// readLock reads the lock file of a folder; one that is not there is empty.
func readLock(dir string) (*lockText, error) {
	l := &lockText{path: filepath.Join(dir, host.LockName), mode: 0o644}
	var err error
	if l.lock, err = host.ReadLockfile(l.path); err != nil {
		return nil, err
	}
	info, err := os.Stat(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err == nil {
		l.mode = info.Mode().Perm()
		l.text, err = os.ReadFile(l.path)
	}
	if err == nil {
		l.lock, err = host.ParseLockfile(l.path, l.text)
	}
	return l, err
}

// with returns a copy in which a plugin's entry is this one.
func (l *lockText) with(entry host.LockEntry) *lockText {
	plugins := slices.Clone(l.lock.Plugins)
	i := slices.IndexFunc(plugins, func(e host.LockEntry) bool { return e.Name == entry.Name })
	if i < 0 {
		plugins = append(plugins, entry)
	} else {
		plugins[i] = entry
	}
	return l.edited(plugins, func(list *yaml.Node) {
		fresh := &yaml.Node{}
		if fresh.Encode(entry) != nil {
			return
		}
		if at := entryNode(list, entry.Name); at >= 0 {
			setKeys(list.Content[at], fresh)
			return
		}
		list.Content = append(list.Content, fresh)
	})
}

// without returns a copy that does not have a plugin.
func (l *lockText) without(name string) *lockText {
	plugins := slices.DeleteFunc(slices.Clone(l.lock.Plugins), func(e host.LockEntry) bool { return e.Name == name })
	return l.edited(plugins, func(list *yaml.Node) {
		if at := entryNode(list, name); at >= 0 {
			list.Content = slices.Delete(list.Content, at, at+1)
		}
	})
}

// edited is the text after an edit of the list of plugins. What comes of it is read
// again: when it does not say what it should, YAML's rarer forms being to blame, the
// file is written anew, without its comments.
func (l *lockText) edited(plugins []host.LockEntry, edit func(list *yaml.Node)) *lockText {
	out := &lockText{path: l.path, mode: l.mode, lock: &host.Lockfile{Plugins: plugins}}
	if text, ok := editList(l.text, edit); ok {
		if lock, err := host.ParseLockfile(l.path, text); err == nil && slices.EqualFunc(lock.Plugins, plugins, sameEntry) {
			out.text = text
			return out
		}
	}
	out.text, _ = encode(out.lock) // strings and booleans can be encoded
	return out
}

func sameEntry(a, b host.LockEntry) bool { return reflect.DeepEqual(a, b) }

// editList edits the list under "plugins" in the text of a lock file.
func editList(text []byte, edit func(list *yaml.Node)) (out []byte, ok bool) {
	// The YAML library panics on some texts.
	defer func() {
		if recover() != nil {
			out, ok = nil, false
		}
	}()
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, false
	}
	if doc.Kind == 0 {
		// Comments at most, which belong to no node.
		list := &yaml.Node{Kind: yaml.SequenceNode}
		edit(list)
		more, err := encode(map[string]*yaml.Node{"plugins": list})
		if len(text) > 0 && text[len(text)-1] != '\n' {
			text = append(text, '\n')
		}
		return append(bytes.Clone(text), more...), err == nil
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, false
	}
	key, list := pair(doc.Content[0], "plugins")
	if list == nil {
		return nil, false
	}
	if list.Kind == yaml.ScalarNode { // plugins: with nothing after it
		*list = yaml.Node{Kind: yaml.SequenceNode, HeadComment: list.HeadComment, LineComment: list.LineComment,
			FootComment: list.FootComment}
	}
	if list.Kind != yaml.SequenceNode {
		return nil, false
	}
	edit(list)
	if list.Style = 0; len(list.Content) == 0 {
		list.Style = yaml.FlowStyle
	} else if list.LineComment != "" {
		// Between the brackets that are gone now and the line's end.
		key.LineComment, list.LineComment = list.LineComment, ""
	}
	text, err := encode(&doc)
	return text, err == nil
}

func encode(value any) ([]byte, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	err := e.Encode(value)
	if closeErr := e.Close(); err == nil {
		err = closeErr
	}
	return b.Bytes(), err
}

// pair is a key in a mapping and its value; both are nil when it is not there.
func pair(mapping *yaml.Node, name string) (key, value *yaml.Node) {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == name {
			return mapping.Content[i], mapping.Content[i+1]
		}
	}
	return nil, nil
}

func valueOf(mapping *yaml.Node, name string) *yaml.Node {
	_, value := pair(mapping, name)
	return value
}

// entryNode is where a plugin's entry is in the list, or -1.
func entryNode(list *yaml.Node, name string) int {
	return slices.IndexFunc(list.Content, func(n *yaml.Node) bool {
		if n.Kind != yaml.MappingNode {
			return false
		}
		v := valueOf(n, "name")
		return v != nil && v.Value == name
	})
}

// setKeys makes the keys of a mapping those of fresh, keeping the order and the
// comments of the ones that stay.
func setKeys(mapping, fresh *yaml.Node) {
	var kept []*yaml.Node
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key, value := mapping.Content[i], mapping.Content[i+1]
		if now := valueOf(fresh, key.Value); now != nil {
			now.HeadComment, now.LineComment, now.FootComment = value.HeadComment, value.LineComment, value.FootComment
			kept = append(kept, key, now)
		}
	}
	for i := 0; i+1 < len(fresh.Content); i += 2 {
		if valueOf(&yaml.Node{Content: kept}, fresh.Content[i].Value) == nil {
			kept = append(kept, fresh.Content[i], fresh.Content[i+1])
		}
	}
	mapping.Content = kept
}

// write replaces the lock file as a whole, and keeps its mode. It is on disk then: whenever the process is
// killed or the power goes, the file is the old one or the new one.
func (l *lockText) write(f *folder) error {
	if _, err := host.ParseLockfile(l.path, l.text); err != nil {
		return err
	}
	path, within := l.path, f.lock
	// A lock file kept elsewhere stays there.
	if real, err := filepath.EvalSymlinks(path); err == nil && real != path {
		path = real
		if within, err = os.Open(filepath.Dir(path)); err != nil {
			return err
		}
		defer within.Close()
	}
	temporary := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+partial)
	os.Remove(temporary) // of a process that was killed
	file, err := os.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, l.mode)
	if err != nil {
		return err
	}
	_, err = file.Write(l.text)
	if err == nil {
		err = file.Chmod(l.mode)
	}
	if err == nil {
		err = file.Sync()
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		os.Remove(temporary)
		return err
	}
	return syncNames(within)
}
