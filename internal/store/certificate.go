package store

// NoteCertificate writes into the history what became of a certificate: its file
// is no setting, but who changed it belongs there.
func (tx *Tx) NoteCertificate(what, id string, names []string) error {
	if err := tx.systemOnly(); err != nil {
		return err
	}
	tx.note(KindCertificate, what, id, map[string]any{"names": names})
	return nil
}
