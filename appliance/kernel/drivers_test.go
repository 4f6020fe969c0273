package kernel

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDriversOfEveryPlace reads the configuration of the kernel that goes into
// images. What QEMU can show as hardware is booted in tests/qemu; what it
// cannot is proven to be driven here: without modules, a driver is in the
// kernel or nowhere.
func TestDriversOfEveryPlace(t *testing.T) {
	t.Parallel()
	cache := os.Getenv("RINGFENCE_CACHE")
	if cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			t.Skip(err)
		}
		cache = filepath.Join(dir, "ringfence")
	}
	k, err := Cached(t.Context(), Options{Cache: cache})
	if err != nil {
		t.Skipf("no kernel in the cache (make kernel): %v", err)
	}
	text, err := os.ReadFile(filepath.Join(filepath.Dir(k.Path), "config"))
	if err != nil {
		t.Fatal(err)
	}
	config := "\n" + string(text)
	for option, why := range map[string]string{
		"HYPERV":              "Hyper-V and Azure: the bus of everything below; QEMU has no VMBus with a disk on it",
		"HYPERV_STORAGE":      "Hyper-V generation 2, Azure: the only disk there is",
		"HYPERV_NET":          "Hyper-V, Azure: the network",
		"HYPERV_UTILS":        "Hyper-V, Azure: clock and orderly shutdown",
		"HYPERV_TIMER":        "Hyper-V, Azure: the clock source",
		"PCI_HYPERV":          "Azure: how accelerated networking and NVMe disks appear",
		"MICROSOFT_MANA":      "Azure: the network of new machine types",
		"MLX5_CORE_EN":        "Azure: accelerated networking",
		"MLX4_EN":             "Azure: accelerated networking of older hosts",
		"ENA_ETHERNET":        "AWS: the network of every Nitro machine",
		"BLK_DEV_NVME":        "AWS Nitro, GCE C3 and later, Azure v6: the disk",
		"XEN_PVHVM":           "AWS t2 and m4, XenServer",
		"XEN_BLKDEV_FRONTEND": "AWS t2 and m4, XenServer: the disk",
		"XEN_NETDEV_FRONTEND": "AWS t2 and m4, XenServer: the network",
		"GVE":                 "GCE: gVNIC, the only network of new machine types",
		"SCSI_VIRTIO":         "GCE: the disk of older machine types",
		"VIRTIO_NET":          "GCE, KVM: the network",
		"VMXNET3":             "VMware: the network of the OVA",
		"E1000E":              "VMware and others: the network of a machine made by hand",
		"SATA_AHCI":           "VMware: the disk of the OVA; bare metal",
		"ATA_PIIX":            "Hyper-V generation 1, VirtualBox: the disk on IDE",
		"USB_STORAGE":         "bare metal: the stick that installs",
		"USB_UAS":             "bare metal: fast USB disks",
		"USB_XHCI_HCD":        "bare metal: USB 3",
		"USB_EHCI_HCD":        "bare metal: USB 2 of older boards",
		"USB_HID":             "bare metal: the keyboard that answers the installer",
		"MMC_BLOCK":           "bare metal: eMMC of small machines",
		"EFI_STUB":            "UEFI",
		"SERIAL_8250_CONSOLE": "clouds: the console one sees",
	} {
		if !strings.Contains(config, "\nCONFIG_"+option+"=y\n") {
			t.Errorf("CONFIG_%s is not in the kernel: %s", option, why)
		}
	}
}
