# Ringfence in a VPC of its own on Google Cloud: private addresses, a static
# external address that leads to the instance one to one, and the port table as
# firewall rules.
#
#   mkdir rules
#   ringfence ports -documented -format google-terraform -management 203.0.113.7 > rules/main.tf
#   terraform init
#   terraform apply -var project=... -var image=projects/.../global/images/ringfence

terraform {
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.0"
    }
  }
}

variable "project" {
  type = string
}

variable "region" {
  type    = string
  default = "europe-west3"
}

variable "image" {
  type        = string
  description = "The image that packer/google.pkr.hcl made."
}

variable "machine_type" {
  type    = string
  default = "e2-small"
}

variable "user_data" {
  type        = string
  default     = "user-data.yaml"
  description = "Answers given beforehand, as in the administrator's guide."
}

provider "google" {
  project = var.project
  region  = var.region
}

resource "google_compute_network" "ringfence" {
  name                    = "ringfence"
  auto_create_subnetworks = false
}

resource "google_compute_subnetwork" "ringfence" {
  name          = "voice"
  network       = google_compute_network.ringfence.id
  region        = var.region
  ip_cidr_range = "10.10.1.0/24"
}

resource "google_compute_address" "ringfence" {
  name   = "ringfence"
  region = var.region
}

module "rules" {
  source  = "./rules"
  network = google_compute_network.ringfence.name
}

resource "google_compute_instance" "ringfence" {
  name         = "ringfence"
  zone         = "${var.region}-a"
  machine_type = var.machine_type
  tags         = ["ringfence"] # the rules are for it

  metadata = {
    user-data = file(var.user_data)
  }

  boot_disk {
    initialize_params {
      image = var.image
      size  = 16
    }
  }

  network_interface {
    subnetwork = google_compute_subnetwork.ringfence.id
    nic_type   = "GVNIC"

    access_config {
      nat_ip = google_compute_address.ringfence.address
    }
  }

  shielded_instance_config {
    enable_secure_boot = false # the image has keys of its own, or none
  }
}

output "public_address" {
  value = google_compute_address.ringfence.address
}
