package slot

// FactoryFiles returns the boot files of a fresh image by their path on the
// ESP, without the kernels and the loaders' own binaries: slot a committed and
// holding version, slot b empty.
func FactoryFiles(state State) (map[string][]byte, error) {
	env, err := EncodeGrubEnv(state)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{
		GrubConfigPath:   []byte(GrubConfig()),
		GrubEnvPath:      env,
		LoaderConfigPath: []byte(LoaderConfig()),
	}
	for _, e := range entriesFor(state, nil) {
		files[EntriesPath+"/"+e.name()] = []byte(e.content())
	}
	return files, nil
}
