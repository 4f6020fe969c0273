# Ringfence in a virtual network of its own on Azure: private addresses, a
# static public address that leads to the machine one to one, and the port table
# as network security group.
#
#   mkdir rules
#   ringfence ports -documented -format azure-terraform -management 203.0.113.7 > rules/main.tf
#   terraform init
#   terraform apply -var image_id=/subscriptions/.../images/ringfence -var ssh_public_key="$(cat key.pub)"

terraform {
  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "~> 4.0"
    }
  }
}

variable "location" {
  type    = string
  default = "westeurope"
}

variable "image_id" {
  type        = string
  description = "The managed image that packer/azure.pkr.hcl made."
}

variable "size" {
  type    = string
  default = "Standard_B2s"
}

variable "ssh_public_key" {
  type        = string
  description = "Azure asks for one. Ringfence has no shell unless it is switched on."
}

variable "user_data" {
  type        = string
  default     = "user-data.yaml"
  description = "Answers given beforehand, as in the administrator's guide."
}

provider "azurerm" {
  features {}
}

resource "azurerm_resource_group" "ringfence" {
  name     = "ringfence"
  location = var.location
}

resource "azurerm_virtual_network" "ringfence" {
  name                = "ringfence"
  resource_group_name = azurerm_resource_group.ringfence.name
  location            = azurerm_resource_group.ringfence.location
  address_space       = ["10.10.0.0/16"]
}

resource "azurerm_subnet" "ringfence" {
  name                 = "voice"
  resource_group_name  = azurerm_resource_group.ringfence.name
  virtual_network_name = azurerm_virtual_network.ringfence.name
  address_prefixes     = ["10.10.1.0/24"]
}

resource "azurerm_public_ip" "ringfence" {
  name                = "ringfence"
  resource_group_name = azurerm_resource_group.ringfence.name
  location            = azurerm_resource_group.ringfence.location
  allocation_method   = "Static"
  sku                 = "Standard"
}

resource "azurerm_network_security_group" "ringfence" {
  name                = "ringfence"
  resource_group_name = azurerm_resource_group.ringfence.name
  location            = azurerm_resource_group.ringfence.location
}

module "rules" {
  source                      = "./rules"
  resource_group_name         = azurerm_resource_group.ringfence.name
  network_security_group_name = azurerm_network_security_group.ringfence.name
}

resource "azurerm_network_interface" "ringfence" {
  name                = "ringfence"
  resource_group_name = azurerm_resource_group.ringfence.name
  location            = azurerm_resource_group.ringfence.location

  ip_configuration {
    name                          = "voice"
    subnet_id                     = azurerm_subnet.ringfence.id
    private_ip_address_allocation = "Dynamic"
    public_ip_address_id          = azurerm_public_ip.ringfence.id
  }
}

resource "azurerm_network_interface_security_group_association" "ringfence" {
  network_interface_id      = azurerm_network_interface.ringfence.id
  network_security_group_id = azurerm_network_security_group.ringfence.id
}

resource "azurerm_linux_virtual_machine" "ringfence" {
  name                  = "ringfence"
  resource_group_name   = azurerm_resource_group.ringfence.name
  location              = azurerm_resource_group.ringfence.location
  size                  = var.size
  network_interface_ids = [azurerm_network_interface.ringfence.id]
  source_image_id       = var.image_id
  user_data             = base64encode(file(var.user_data))
  admin_username        = "ringfence"

  admin_ssh_key {
    username   = "ringfence"
    public_key = var.ssh_public_key
  }

  os_disk {
    caching              = "ReadWrite"
    storage_account_type = "Premium_LRS"
  }

  boot_diagnostics {}
}

output "public_address" {
  value = azurerm_public_ip.ringfence.ip_address
}
